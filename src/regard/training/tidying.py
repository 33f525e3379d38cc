"""Memory that the C library keeps though nothing uses it, given back."""

from typing import Any

from regard.runtime.memory import Trimmer
from regard.training.callbacks import TrainerCallback


class Tidying(TrainerCallback):
    """Gives freed memory back when much of it has gathered; see `Trimmer`."""

    def __init__(self) -> None:
        self._trimmer = Trimmer()

    def on_step_end(self, args: Any, state: Any, control: Any, **run: Any) -> None:
        """Look, and tidy if needed."""
        self._trimmer.look()
