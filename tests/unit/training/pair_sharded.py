"""One of two processes of a sharded run; see `test_sharded.py`."""

import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from runs import TAMED, StopAt, examples, history, masked, model, trainer
from safetensors.torch import save_file

from regard.errors import CheckpointError, ConfigError
from regard.training import sharded

torch.set_num_threads(1)
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
#: No size is a multiple of two processes.
ODD = {"vocab_size": 41, "hidden_size": 14, "intermediate_size": 23, "num_labels": 3}


def keep(run, output, name):
    full = run.replicas.full_weights(run.model)
    if run.processes.first:
        if full is None:
            full = {n: v.clone() for n, v in run.model.state_dict().items()}
        full = {n: v.clone() for n, v in full.items()}
        save_file(full, output / f"{name}.safetensors")
        (output / f"{name}.json").write_text(json.dumps(history(run)))


def data(kind):
    if kind == "masked":
        return masked(**STILL) | {"eval_dataset": examples(7, seed=3, labelled=False)}
    return {"model": model(**STILL | ODD), "eval_dataset": examples(7, seed=3)}


def once(output, accumulation, fsdp):
    """Train without dropout, so that one process can do the same."""
    for kind in ("masked", "odd"):
        usual = {"logging_steps": 1, "eval_steps": 3, "eval_strategy": "steps", "save_steps": 3}
        best = {"load_best_model_at_end": True, "eval_on_start": True, "report_to": "report"}
        run = trainer(
            output / kind,
            gradient_accumulation_steps=accumulation,
            fsdp=fsdp,
            **data(kind) | usual | best | TAMED,
        )
        run.train()
        keep(run, output, kind)
        run.save_model(output / f"{kind}-saved")
        found = run.predict(examples(5, seed=8))
        if run.processes.first:
            logits = torch.from_numpy(found.predictions).contiguous()
            save_file({"logits": logits}, output / f"{kind}-predicted.safetensors")


def again(output, fsdp):
    """Train with dropout, straight through and stopped."""
    more = {"fsdp": fsdp, "save_steps": 2, "gradient_checkpointing": True}
    run = trainer(output / "whole", **more)
    run.train()
    keep(run, output, "whole")
    trainer(output / "cut", callbacks=[StopAt(3)], fsdp=fsdp, gradient_checkpointing=True).train()
    run = trainer(output / "cut", model=model(seed=9), **more)
    run.train(resume_from_checkpoint=True)
    keep(run, output, "cut")
    run = trainer(output / "half", bf16=True, fsdp=fsdp, max_steps=2)
    run.train()
    keep(run, output, "half")


def refused(output, fsdp):
    """Say what errors both processes get."""
    said = {}

    def note(name, work, error):
        try:
            work()
        except error as found:
            said[name] = str(found)

    note("muon", lambda: trainer(output / "no", fsdp=fsdp, optim="muon"), ConfigError)
    own = model()
    given = (torch.optim.SGD(own.parameters(), 0.1), None)
    note(
        "given", lambda: trainer(output / "no", model=own, fsdp=fsdp, optimizers=given), ConfigError
    )
    note(
        "plain",
        lambda: trainer(output / "no").train(str(output / "whole" / "checkpoint-4")),
        CheckpointError,
    )
    trainer(output / "plain", max_steps=1).train()
    note(
        "sharded",
        lambda: trainer(output / "no", fsdp=fsdp).train(str(output / "plain" / "checkpoint-1")),
        CheckpointError,
    )

    if os.environ["RANK"] == "1":

        def refuse(*args, **more):
            raise OSError("No space left on device")

        sharded.HuggingFaceStorageWriter.write_data = refuse
    note("full", trainer(output / "full", fsdp=fsdp).train, CheckpointError)
    (output / "full").joinpath("seen").mkdir(parents=True, exist_ok=True)
    (output / f"refused-{os.environ['RANK']}.json").write_text(json.dumps(said))


if __name__ == "__main__":
    folder, fsdp = Path(sys.argv[1]), sys.argv[3]
    once(folder, int(sys.argv[2]), fsdp)
    if int(os.environ["WORLD_SIZE"]) > 1:
        again(folder, fsdp)
        refused(folder, fsdp)
        dist.destroy_process_group()
