"""A loaded model becomes one that answers: in its place, and fast there."""

from collections.abc import Mapping
from typing import Any

import torch

from regard.errors import ConfigError
from regard.layers.embeddings import LearnedPositions
from regard.models.encoder import TextBase, TextModel
from regard.models.model import PreTrainedModel
from regard.runtime.optimize import optimize
from regard.text.options import UNLIMITED
from regard.text.tokenizer import Tokenizer

#: Text of many kinds, in which the ranges of a model's inner numbers are seen for int8.
SAMPLE = (
    "The museum opens at nine, but the queue already reached the bridge by half past eight.",
    "I have never been so bored in a cinema; even the popcorn wanted to leave.",
    "Could you send me the minutes of Tuesday's meeting before the auditors arrive?",
    "Water boils at 100 degrees Celsius at sea level, and at about 71 on top of Everest.",
    "Maria Gonzalez joined Siemens in Munich in 2014 and moved to its office in Sao Paulo.",
    "lol they really cancelled it AGAIN :( #neveragain @trainline",
    "Why do cats purr?",
    "Under section 4(b), the tenant shall give written notice no later than thirty days prior.",
    "A quick, funny, surprisingly tender little film that I would gladly watch twice.",
    "She sold the boat to a neighbour, who painted it green and gave it to his daughter.",
    "Revenue rose by 12.5% to $3.4 billion, while the margin fell for the third quarter running.",
    "Beat the eggs with the sugar until pale; fold in the flour; bake for 25 minutes.",
    "Der Zug nach Hamburg hat heute leider vierzig Minuten Verspaetung.",
    "No.",
    "The enzyme binds two zinc ions, and mutants that lack either of them lose all activity.",
    "for i in range(10): print(i ** 2)",
)


def prepare_model(
    model: torch.nn.Module,
    device: str | int | torch.device | None,
    precision: str | None,
    tokenizer: object = None,
) -> None:
    """Move a model to a device and make it fast there.

    Args:
        model: Any.
        device: -1 is the processor, None leaves it where it is.
        precision: See `optimize`; None leaves it as it is.
        tokenizer: The model's, by which it is shown text where that makes it better.
    """
    if device is not None:
        model.to("cpu" if device == -1 else device)
    if precision is None:
        return
    shown = None
    if precision == "int8" and isinstance(model, TextModel) and isinstance(tokenizer, Tokenizer):
        shown = _calls(model, tokenizer)
    optimize(model, precision, shown)


def _calls(model: PreTrainedModel, tokenizer: Tokenizer) -> list[Mapping[str, Any]] | None:
    """Return arguments of forwards over `SAMPLE`; None for a model that reads no plain rows."""
    calls = model.example_calls(1)
    plain = all(call["input_ids"].dim() == 2 and len(call["input_ids"]) == 1 for call in calls)
    if not plain or tokenizer.pad_token is None:
        return None
    longest = min(64, longest_input(model, tokenizer))
    rows = tokenizer(
        [*SAMPLE], padding=True, truncation=True, max_length=longest, return_tensors="pt"
    )
    read = {name: rows[name].to(model.device) for name in ("input_ids", "attention_mask")}
    return [call | read for call in calls]


def longest_input(model: PreTrainedModel, tokenizer: Tokenizer) -> int:
    """Return how many tokens both the model and its tokenizer take.

    Raises:
        ConfigError: Neither says.
    """
    base = model.base_model
    found = [tokenizer.model_max_length]
    if isinstance(base, TextBase):
        positions = getattr(base.embeddings, "positions", None)
        if isinstance(positions, LearnedPositions):
            found.append(positions.usable)
    known: Any = vars(model.config).get("max_position_embeddings")
    if isinstance(known, int):
        found.append(known)
    longest = min(found)
    if longest > UNLIMITED:
        raise ConfigError(
            "neither model nor tokenizer says how long a text may be: give max_length"
        )
    return longest
