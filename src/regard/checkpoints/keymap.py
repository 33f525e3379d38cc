"""What a model's tensors are called on disk.

A family writes one table, ``{name in memory: name on disk}``, of module or tensor paths in which
``{}`` stands for a layer number. The longest entry that a path begins with is the one that counts,
and a path that no entry covers (a head of your own) keeps its name. The other direction is not
written anywhere: it is the inverse over the tensors that a model really has.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import cast

from torch import nn

KeyTable = Mapping[str, str]

#: Spellings that old or foreign files use, and what they mean; tried on every tensor name.
_LEGACY = (
    (re.compile(r"(?<![^.])_orig_mod\."), ""),  # torch.compile, of any module
    (re.compile(r"^(?:module\.)+"), ""),  # DataParallel
    (re.compile(r"(norm\w*)\.gamma$", re.IGNORECASE), r"\1.weight"),  # TensorFlow
    (re.compile(r"(norm\w*)\.beta$", re.IGNORECASE), r"\1.bias"),
)

#: Buffers that old files hold and no model needs: they are recomputed.
_BUFFERS = re.compile(r"(^|\.)embeddings\.(position_ids|token_type_ids)$")


def current_name(name: str) -> str | None:
    """Return a tensor name from a file in today's spelling, or None for a buffer to leave out."""
    for pattern, replacement in _LEGACY:
        name = pattern.sub(replacement, name)
    return None if _BUFFERS.search(name) else name


def disk_names(model: nn.Module, names: Iterable[str]) -> dict[str, str]:
    """Map each of `names` (tensors of `model`) to its name on disk.

    A module with a `keys` table rules over the tensors inside it, so a model that holds another
    (a head over its base, two towers side by side) needs no table for what it holds.
    """
    modules = cast("list[tuple[str, nn.Module]]", [*model.named_modules()])
    tables = {path: _sorted(module) for path, module in modules if _has_keys(module)}
    inner_first = sorted(tables, key=len, reverse=True)
    renamed: dict[str, str] = {}
    for name in names:
        path = next((p for p in inner_first if not p or name.startswith(f"{p}.")), "")
        inner = name.removeprefix(f"{path}.") if path else name
        on_disk = _rename(inner, tables.get(path, ()))
        renamed[name] = f"{path}.{on_disk}" if path else on_disk
    return renamed


def _has_keys(module: nn.Module) -> bool:
    return isinstance(getattr(module, "keys", None), Mapping)


def _sorted(module: nn.Module) -> tuple[tuple[str, str], ...]:
    table: KeyTable = getattr(module, "keys")  # noqa: B009 - nn.Module types attributes as modules
    return tuple(sorted(table.items(), key=lambda entry: -len(entry[0])))


def _rename(name: str, table: tuple[tuple[str, str], ...]) -> str:
    for memory, disk in table:
        match = _pattern(memory).match(name)
        if match:
            return disk.format(*match.groups()) + name[match.end() :]
    return name


@cache
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.escape(template).replace(r"\{\}", r"(\d+)") + r"(?=\.|$)")
