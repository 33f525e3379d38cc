"""Models with and without idle parameters, trained by the processes of `pair.py`."""

from runs import TAMED, model, trainer, weights
from safetensors.torch import save_file
from torch import nn

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


def unused(folder, accumulation):
    shared = {"gradient_accumulation_steps": accumulation, "max_steps": 3} | TAMED
    run(folder, "all", model(**STILL), **shared)
    run(folder, "some", Idle(), **shared)
    run(folder, "asked", model(**STILL), ddp_find_unused_parameters=True, **shared)
