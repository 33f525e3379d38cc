"""What a model's tensors are called on disk.

A family writes one table, ``{name in memory: name on disk}``, of module or tensor paths in which
``{}`` stands for a layer number. The longest entry that a path begins with is the one that counts,
and a path that no entry covers (a head of your own) keeps its name. The other direction is not
written anywhere: it is the inverse over the tensors that a model really has. Where a name is not
enough, because a file holds a matrix turned or several matrices in one, a `Place` says how.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import cast

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Place:
    """Where a tensor lies on disk.

    Attributes:
        name: Its name there.
        transposed: Whether matrices lie there as (in, out), as GPT-2's do.
        part: Which of the equal parts of the tensor there it is, along the outputs.
        parts: How many parts that tensor has.
        otherwise: Name of a tensor to read where a file has none of that name.
    """

    name: str
    transposed: bool = False
    part: int = 0
    parts: int = 1
    otherwise: str | None = None

    def within(self, before: str, after: str) -> "Place":
        """Return this place with names that also have what stands before and after them."""
        other = None if self.otherwise is None else f"{before}{self.otherwise}{after}"
        return replace(self, name=f"{before}{self.name}{after}", otherwise=other)

    def shape(self, stored: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of this tensor in one that is stored with that shape."""
        turned = stored[::-1] if self.transposed else stored
        fits = bool(turned) and turned[0] % self.parts == 0
        return (turned[0] // self.parts, *turned[1:]) if fits else turned

    def take(self, stored: Tensor) -> Tensor:
        """Return this tensor from the one that is stored, as a view."""
        turned = stored.t() if self.transposed and stored.dim() == 2 else stored
        return turned.chunk(self.parts)[self.part] if self.parts > 1 else turned


def stored_tensor(parts: Mapping[Place, Tensor]) -> Tensor:
    """Return what is stored for all parts of one place: the inverse of `Place.take`."""
    ordered = [parts[place] for place in sorted(parts, key=lambda place: place.part)]
    whole = ordered[0] if len(ordered) == 1 else torch.cat(ordered)
    turn = next(iter(parts)).transposed and whole.dim() == 2
    return whole.t() if turn else whole


KeyTable = Mapping[str, str | Place]

#: Spellings that old or foreign files use, and what they mean; tried on every tensor name.
_LEGACY = (
    (re.compile(r"(?<![^.])_orig_mod\."), ""),  # torch.compile, of any module
    (re.compile(r"^(?:module\.)+"), ""),  # DataParallel
    (re.compile(r"(norm\w*)\.gamma$", re.IGNORECASE), r"\1.weight"),  # TensorFlow
    (re.compile(r"(norm\w*)\.beta$", re.IGNORECASE), r"\1.bias"),
)

#: What old files hold and no model needs: buffers, which are recomputed, and a bias of T5's
#: cross-attention, which was made and never read.
_BUFFERS = re.compile(
    r"(^|\.)(embeddings\.(position_ids|token_type_ids)|attn\.(masked_)?bias|rotary_emb\.inv_freq"
    r"|(en|de)coder\.(version|embed_positions\.weight)"
    r"|EncDecAttention\.relative_attention_bias\.weight)$"
)


def current_name(name: str) -> str | None:
    """Return a tensor name from a file in today's spelling, or None for a buffer to leave out."""
    for pattern, replacement in _LEGACY:
        name = pattern.sub(replacement, name)
    return None if _BUFFERS.search(name) else name


def disk_names(model: nn.Module, names: Iterable[str]) -> dict[str, str]:
    """Map each of `names` (tensors of `model`) to its name on disk."""
    return {name: place.name for name, place in disk_places(model, names).items()}


def disk_places(model: nn.Module, names: Iterable[str]) -> dict[str, Place]:
    """Map each of `names` (tensors of `model`) to its place on disk.

    A module with a `keys` table rules over the tensors inside it, so a model that holds another
    (a head over its base, two towers side by side) needs no table for what it holds. The tables
    around such a module say where it lies, if not under its own name: ``""`` is beside them.
    """
    modules = cast("list[tuple[str, nn.Module]]", [*model.named_modules()])
    tables = {path: _sorted(module) for path, module in modules if _has_keys(module)}
    inner_first = sorted(tables, key=len, reverse=True)

    def find(name: str) -> Place:
        path = next((p for p in inner_first if not p or name.startswith(f"{p}.")), "")
        place = _place(name.removeprefix(f"{path}.") if path else name, tables.get(path, ()))
        around = find(path).name if path else ""
        return place.within(f"{around}." if around and place.name else around, "")

    return {name: find(name) for name in names}


def _has_keys(module: nn.Module) -> bool:
    return isinstance(getattr(module, "keys", None), Mapping)


def _sorted(module: nn.Module) -> tuple[tuple[str, str | Place], ...]:
    table: KeyTable = getattr(module, "keys")  # noqa: B009 - nn.Module types attributes as modules
    return tuple(sorted(table.items(), key=lambda entry: -len(entry[0])))


def _place(name: str, table: tuple[tuple[str, str | Place], ...]) -> Place:
    for memory, disk in table:
        match = _pattern(memory).match(name)
        if match:
            place = Place(disk) if isinstance(disk, str) else disk
            numbered = replace(place, name=place.name.format(*match.groups()))
            return numbered.within("", name[match.end() :])
    return Place(name)


@cache
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.escape(template).replace(r"\{\}", r"(\d+)") + r"(?=\.|$)")
