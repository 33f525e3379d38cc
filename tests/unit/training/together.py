"""Runs a program alone and as a pair, as torchrun would start it; torch is imported once for all.

Each process gets a folder and how many batches it accumulates: the one alone twice as many.
"""

import os
import runpy
import signal
import sys
import traceback

import regard.training.trainer  # noqa: F401  (before the processes part)


def parted(program, world, rank, *arguments):
    """Run `program` in a process of its own, with the variables that torchrun sets."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        told = {"WORLD_SIZE": world, "RANK": rank, "LOCAL_RANK": rank}
        os.environ.update({name: str(number) for name, number in told.items()})
        sys.argv = [program, *arguments]
        runpy.run_path(program, run_name="__main__")
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main(program, one, two, *more):
    """Wait for all; where one fails, the others would wait for it."""
    running = {parted(program, 1, 0, one, "2", *more)}
    running |= {parted(program, 2, rank, two, "1", *more) for rank in range(2)}
    while running:
        pid, status = os.wait()
        running.remove(pid)
        if status:
            for other in running:
                os.kill(other, signal.SIGKILL)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
