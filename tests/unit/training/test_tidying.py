"""Freed memory goes back to the system when much of it has gathered; the rule is in `Trimmer`."""

from typing import Any

import pytest

import regard
from regard.runtime.memory import Trimmer
from regard.training.tidying import Tidying


def test_every_step_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """By one `Trimmer`, which remembers."""
    looks = list[Trimmer]()
    monkeypatch.setattr(Trimmer, "look", lambda self: looks.append(self))
    tidying, control = Tidying(), regard.TrainerControl()
    nothing: Any = None
    for _ in range(2):
        tidying.on_step_end(nothing, nothing, control)
    assert len(looks) == 2
    assert looks[0] is looks[1]
