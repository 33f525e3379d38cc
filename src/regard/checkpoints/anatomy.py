"""`Anatomy`: what the loader must know of a model, without knowing models."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Anatomy:
    """What the loader must know of a model's parts.

    Attributes:
        prefix: Path of the base model inside a model with a head, on disk and in memory.
        base_paths: Where base models lie in this model; ``("",)`` when it is one itself.
        optional: Paths in this model of the parts of its bases that a file or the model may lack (a
            pooler), whether it has them or not, and of buffers that keep what their constructor
            says.
        heads: Paths of the heads, where several lie below one name.
        aliases: Second names on disk, which count where they differ: second name -> first name.
    """

    prefix: str
    base_paths: tuple[str, ...]
    optional: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict[str, str])

    def required(self, name: str) -> bool:
        """Whether `name` is part of a base model, so that it may not be missing or left over."""
        return above(name, self.base_paths) is not None and above(name, self.optional) is None

    def head(self, name: str) -> str:
        """Return what `name`, which is not required, belongs to: an optional part, or a head."""
        return above(name, (*self.optional, *self.heads)) or name.split(".")[0]

    def spellings(self, disk: str) -> tuple[str, str, str]:
        """Return `disk` as it is, with and without the base prefix: files have it or not."""
        return disk, f"{self.prefix}.{disk}", disk.removeprefix(f"{self.prefix}.")

    def part(self, disk: str) -> str:
        """Return the first step below the base of a name on disk, such as ``pooler``."""
        return disk.removeprefix(f"{self.prefix}.").split(".")[0]


def above(name: str, paths: Iterable[str]) -> str | None:
    """Return the first of `paths` that `name` is, or lies below; ``""`` is above all."""
    return next((p for p in paths if not p or name == p or name.startswith(f"{p}.")), None)
