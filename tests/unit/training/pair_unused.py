"""One of two processes that train models with and without idle parameters; see
`test_distributed.py`.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from runs import model, trainer, weights
from safetensors.torch import save_file
from torch import nn

torch.set_num_threads(1)
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


class Idle(nn.Module):
    """A classifier with a map that nothing uses."""

    def __init__(self):
        super().__init__()
        self.used, self.idle = model(**STILL), nn.Linear(3, 3)

    def forward(self, input_ids, attention_mask, labels):
        return self.used(input_ids, attention_mask, labels=labels)


def run(output, name, net, **changes):
    made = trainer(output / name, model=net, save_strategy="no", **changes)
    made.train()
    wraps = getattr(made.model_wrapped, "find_unused_parameters", None)
    if made.processes.first:
        save_file(weights(made), output / f"{name}.safetensors", {"find_unused": str(wraps)})


if __name__ == "__main__":
    folder, accumulation = Path(sys.argv[1]), int(sys.argv[2])
    shared = {"gradient_accumulation_steps": accumulation, "max_steps": 3}
    run(folder, "all", model(**STILL), **shared)
    run(folder, "some", Idle(), **shared)
    run(folder, "asked", model(**STILL), ddp_find_unused_parameters=True, **shared)
    if dist.is_initialized():
        dist.destroy_process_group()
