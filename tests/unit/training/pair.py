"""One of two processes of a run, as torchrun would start it; see `test_distributed.py`."""

import json
import os
import signal
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from pair_unused import unused
from runs import TAMED, StopAt, examples, history, masked, model, trainer, weights
from safetensors.torch import save_file

from regard.errors import CheckpointError
from regard.training import checkpoint
from regard.training.callbacks import TrainerCallback

torch.set_num_threads(1)
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


class TellToEnd(TrainerCallback):
    """Sends SIGTERM to the second process only."""

    def on_step_end(self, args, state, control, **run):
        if state.global_step == 2 and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGTERM)


def stream():
    """Yield examples without saying how many there are; the last are no two whole batches."""
    yield from examples(15)


class Stream:
    """Data without a length that can be read again."""

    def __iter__(self):
        return stream()


def keep(run, output, name):
    if run.processes.first:
        save_file(weights(run), output / f"{name}.safetensors")
        (output / f"{name}.json").write_text(json.dumps(history(run)))


def once(output, accumulation):
    """Train and evaluate without dropout, so that one process can do the same."""
    data = masked(**STILL) | {"eval_dataset": examples(7, seed=3, labelled=False)}
    shared = {"gradient_accumulation_steps": accumulation, "logging_steps": 1, "eval_steps": 3}
    shared |= TAMED
    run = trainer(output / "still", **data, **shared, eval_strategy="steps", save_steps=2)
    run.train()
    keep(run, output, "still")
    own = {"model": model(**STILL), "train_dataset": Stream(), "max_steps": 4}
    run = trainer(output / "stream", save_strategy="no", **own, **shared)
    run.train()
    keep(run, output, "stream")


def again(output):
    """Train with dropout, straight through and stopped."""
    run = trainer(output / "whole", save_steps=2)
    run.train()
    keep(run, output, "whole")
    trainer(output / "cut", callbacks=[StopAt(3)]).train()
    run = trainer(output / "cut", save_steps=2)
    run.train(resume_from_checkpoint=True)
    keep(run, output, "cut")
    try:
        trainer(output / "told", callbacks=[TellToEnd()]).train()
    except SystemExit as left:
        (output / f"left-{run.processes.rank}").write_text(str(left.code))
    run = trainer(output / "told", save_steps=2)
    run.train(resume_from_checkpoint=True)
    keep(run, output, "told")
    draws = run.processes.gather(torch.rand(3).tolist())
    if run.processes.first:
        (output / "draws.json").write_text(json.dumps(draws))


def full(output):
    """A disk that is full where the first process writes ends both."""
    run = trainer(output / "full")

    def refuse(*args):
        raise OSError("No space left on device")

    checkpoint.save_optimizer = refuse
    try:
        run.train()
    except CheckpointError as error:
        (output / f"full-{run.processes.rank}").write_text(str(error))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    once(folder, int(sys.argv[2]))
    unused(folder, int(sys.argv[2]))
    if int(os.environ["WORLD_SIZE"]) > 1:
        again(folder)
        full(folder)
        dist.destroy_process_group()
