"""One of two processes of a run over several tasks; see `test_multitask.py`."""

import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from runs import TAMED, StopAt, history, weights
from safetensors.torch import save_file
from several import METRICS, model, multi_trainer, several

from regard.errors import ConfigError

torch.set_num_threads(1)
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def keep(run, output, name):
    if run.processes.first:
        save_file(weights(run), output / f"{name}.safetensors")
        (output / f"{name}.json").write_text(json.dumps(history(run)))


if __name__ == "__main__":
    output = Path(sys.argv[1])
    shared = {"task_temperature": 2, "logging_steps": 1, "eval_steps": 4, "eval_strategy": "steps"}
    run = multi_trainer(
        output / "still",
        model=model(**STILL),
        gradient_accumulation_steps=int(sys.argv[2]),
        eval_dataset=several(seed=9),
        compute_metrics=METRICS,
        max_steps=9,
        **shared | TAMED,
    )
    run.train()
    keep(run, output, "still")
    if int(os.environ["WORLD_SIZE"]) > 1:
        run = multi_trainer(output / "whole")
        run.train()
        keep(run, output, "whole")
        multi_trainer(output / "cut", callbacks=[StopAt(3)]).train()
        run = multi_trainer(output / "cut", model=model(seed=5))
        run.train(resume_from_checkpoint=True)
        keep(run, output, "cut")
        try:
            multi_trainer(output / "no", fsdp=True).train()
        except ConfigError as error:
            (output / f"refused-{os.environ['RANK']}").write_text(str(error))
        dist.destroy_process_group()
