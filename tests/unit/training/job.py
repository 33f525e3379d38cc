"""Runs that are killed, each in a forked process; `test_signals.py` starts this as a program.

python job.py die OUTPUT MOMENTS SEED    killed at file operations, so also during a save
python job.py kill OUTPUT MOMENTS SEED   killed after a random time
python job.py train OUTPUT               prints each step, until it is told to end
"""

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import torch
from runs import trainer

from regard.training.callbacks import TrainerCallback
from regard.training.checkpoint import checkpoints

torch.set_num_threads(1)


class Tells(TrainerCallback):
    """Says each step, slowly enough to be interrupted."""

    def on_step_end(self, args, state, control, **run):
        sys.stdout.write(f"step {state.global_step}\n")
        sys.stdout.flush()
        time.sleep(0.02)


def train(output, **changes):
    """Go on with what is there, or begin; return a digest of the weights."""
    usual = {"max_steps": 5, "save_steps": 1, "save_total_limit": 2}
    run = trainer(output, **usual | changes)
    run.train(resume_from_checkpoint=True if checkpoints(output) else None)
    digest = hashlib.sha256()
    for tensor in run.model.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def die_at(moment, output):
    """Kill this process at the `moment`-th time that it touches a file of `output`; count them."""
    seen = [0]

    def hook(event, args):
        if event in FILE_EVENTS and any(str(output) in str(each) for each in args):
            seen[0] += 1
            if seen[0] == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return seen


FILE_EVENTS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree")


def forked(work, note):
    """Do `work` in a forked process that writes its result to `note`; return its number."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        note.write_text(json.dumps(work()))
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)


def result(pid, note):
    """Wait for a forked process; return what it wrote, None if it was killed."""
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        return None
    if os.WEXITSTATUS(status):
        raise SystemExit("a run failed")
    return json.loads(note.read_text())


def count_events(output):
    """Train undisturbed; return (digest, how often files were touched)."""
    seen = die_at(-1, output)
    return train(output), seen[0]


def disturbed(output, note, kill, wanted):
    """Kill a run and start it again, three times; then let it end and compare."""
    shutil.rmtree(output, ignore_errors=True)
    killed = 0
    for _ in range(3):
        ended = kill()
        killed += ended is None
        if ended is not None:
            break
    found = result(forked(lambda: train(output), note), note)
    left = [path.name for path in output.iterdir() if path.name.startswith(".")]
    return killed, found == wanted, left


def main(kind, output, times="0", seed="0"):
    """Print what came of the kills, as JSON: how many, of how many moments, and what differed."""
    output, draw = Path(output), random.Random(int(seed))
    note = output.with_suffix(".json")
    if kind == "train":
        train(output, max_steps=400, callbacks=[Tells()])
        return
    # What is imported late is imported once, before the forks.
    train(output.with_name("first"), max_steps=1)
    begun = time.perf_counter()
    wanted, moments = result(forked(lambda: count_events(output), note), note)
    whole = time.perf_counter() - begun
    chosen = sorted(draw.sample(range(1, moments), min(int(times), moments - 1)))

    def die(moment):
        def work():
            die_at(moment if kind == "die" else -1, output)
            return train(output)

        pid = forked(work, note)
        if kind == "kill":
            time.sleep(draw.uniform(0, whole))
            os.kill(pid, signal.SIGKILL)
        return result(pid, note)

    outcomes = [disturbed(output, note, lambda m=m: die(m), wanted) for m in chosen]
    wrong = [m for m, (_, same, left) in zip(chosen, outcomes, strict=True) if not same or left]
    sys.stdout.write(
        json.dumps({"kills": sum(n for n, _, _ in outcomes), "moments": moments, "wrong": wrong})
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
