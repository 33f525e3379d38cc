"""Put a checkpoint's tensors into a model: every tensor accounted for, nothing silently random."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from regard.checkpoints.files import CheckpointFolder
from regard.checkpoints.keymap import current_name, disk_names
from regard.checkpoints.tensors import StoredTensor, open_tensors
from regard.errors import CheckpointError, listing, notices


@dataclass(frozen=True)
class Anatomy:
    """What the loader must know of a model's parts.

    Attributes:
        prefix: Path of the base model inside a model with a head, on disk and in memory.
        base_paths: Where base models lie in this model; ``("",)`` when it is one itself.
        optional: Modules of a base that a file or a model may lack (a pooler).
        aliases: Second names on disk, which count where they differ: second name -> first name.
    """

    prefix: str
    base_paths: tuple[str, ...]
    optional: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict[str, str])

    def required(self, name: str) -> bool:
        """Whether `name` is part of a base model, so that it may not be missing or left over."""
        for path in self.base_paths:
            inner = name.removeprefix(f"{path}.") if path else name
            if (not path or inner != name) and inner.split(".")[0] not in self.optional:
                return True
        return False

    def is_optional(self, disk: str) -> bool:
        """Whether a name on disk is of a part that this model was built without, on purpose."""
        return disk.removeprefix(f"{self.prefix}.").split(".")[0] in self.optional


@dataclass(frozen=True)
class LoadRequest:
    """How strict to be, and in which dtype.

    Attributes:
        dtype: Of all floating tensors; None keeps that of the file's first one.
        strict: Refuse a checkpoint whose base weights are not exactly the model's.
        reshape_head: Whether a head of another size in the file may be replaced by a new one.
        initialise: Fills the parameters of one module with fresh random values.
    """

    initialise: Callable[[nn.Module], None]
    dtype: torch.dtype | None = None
    strict: bool = True
    reshape_head: bool = False


@dataclass(frozen=True)
class _Match:
    """Which stored tensor goes where (by name in memory), and what is left on either side."""

    found: dict[str, StoredTensor]
    missing: list[str]
    misshapen: dict[str, StoredTensor]
    unexpected: list[str]


def load_weights(
    model: nn.Module, folder: CheckpointFolder, anatomy: Anatomy, request: LoadRequest
) -> bool:
    """Fill `model`, whose tensors may be on ``meta``, from `folder`.

    A head in the file without a place in the model is left out, and a head of the model that the
    file lacks is new; one notice for each. Returns whether all tied parameters are tied still: they
    are not when the file holds different values for them.

    Raises:
        CheckpointError: The base weights are not exactly the model's (unless ``strict=False``), or
            only half a head is there; names every tensor concerned.
    """
    targets = dict(model.state_dict(keep_vars=True))
    match = _match(model, targets, _current(open_tensors(folder), anatomy), anatomy)
    _judge(match, targets, anatomy, request, folder.name)
    _fill_new(model, [*match.missing, *match.misshapen], request.initialise)
    dtype = request.dtype or _first_float(match.found.values())
    tied = [_assign(model, names, targets, match.found, dtype) for names in tie_groups(targets)]
    model.to(dtype)
    return all(tied)


def tie_groups(targets: Mapping[str, Tensor]) -> list[list[str]]:
    """Return the names of each parameter; more than one where parameters are tied."""
    groups: dict[int, list[str]] = {}
    for name, tensor in targets.items():
        groups.setdefault(id(tensor), []).append(name)
    return [*groups.values()]


def _current(stored: Mapping[str, StoredTensor], anatomy: Anatomy) -> dict[str, StoredTensor]:
    """Bring the names of the file into today's spelling, and leave out recomputed buffers."""
    current: dict[str, StoredTensor] = {}
    for original, tensor in stored.items():
        name = current_name(original)
        if name is None:
            continue
        current[name] = tensor
    for second, name in anatomy.aliases.items():
        if second in current:
            tensor = current.pop(second)
            if name in current and not torch.equal(current[name].read(), tensor.read()):
                notices.warning("%s: %s and %s differ; the first counts", tensor.file, second, name)
            current[name] = tensor
    return current


def _match(
    model: nn.Module,
    targets: Mapping[str, Tensor],
    stored: Mapping[str, StoredTensor],
    anatomy: Anatomy,
) -> _Match:
    places = {disk: name for name, disk in disk_names(model, targets).items()}
    match = _Match({}, [], {}, [])
    for disk, tensor in stored.items():
        # The base prefix may be missing in the file (a base saved alone) or in the model.
        spellings = (disk, f"{anatomy.prefix}.{disk}", disk.removeprefix(f"{anatomy.prefix}."))
        name = next((places[each] for each in spellings if each in places), None)
        if name is None:
            match.unexpected.append(disk)
        elif tensor.shape != tuple(targets[name].shape):
            match.misshapen[name] = tensor
        else:
            match.found[name] = tensor
    for names in tie_groups(targets):
        if not any(name in match.found or name in match.misshapen for name in names):
            match.missing.append(names[0])
    return match


def _judge(
    match: _Match,
    targets: Mapping[str, Tensor],
    anatomy: Anatomy,
    request: LoadRequest,
    source: str,
) -> None:
    """Raise for what must not be, and give a notice for what may be but should be known."""
    missing = [name for name in match.missing if anatomy.required(name)]
    misshapen = [
        f"{name} is {list(tensor.shape)} in the file and {list(targets[name].shape)} in the model"
        for name, tensor in match.misshapen.items()
        if anatomy.required(name) or not request.reshape_head
    ]
    unexpected = [name for name in match.unexpected if _inside_base(name, match, anatomy)]
    halved = _half_there(match, anatomy)
    problems = [
        f"{what} ({len(names)}): {listing(names)}"
        for what, names in (
            ("missing", missing),
            ("not in the model", unexpected),
            ("of another shape", misshapen),
            ("missing while the rest of their head is there", halved),
        )
        if names
    ]
    if problems and request.strict:
        raise CheckpointError(
            f"{source} does not fit this model.\n  " + "\n  ".join(problems) + "\n"
            "Check that the configuration belongs to these weights; for a head of another size "
            "give num_labels; strict=False loads what fits and leaves the rest random"
        )
    for problem in problems:
        notices.warning("%s: %s", source, problem)
    new = [name for name in match.missing if name not in missing + halved]
    new += [name for name in match.misshapen if request.reshape_head and not anatomy.required(name)]
    if new:
        notices.warning("%s: new and random until trained: %s", source, listing(new))
    left_out = [name for name in match.unexpected if name not in unexpected]
    left_out = [name for name in left_out if not anatomy.is_optional(name)]
    if left_out:
        notices.warning("%s: left out, no place in this model: %s", source, listing(left_out))


def _inside_base(disk: str, match: _Match, anatomy: Anatomy) -> bool:
    """Whether a stored tensor without a place belongs to the base, so that its loss matters."""
    if anatomy.is_optional(disk):
        return False
    if disk.startswith(f"{anatomy.prefix}."):
        return True
    # Without the prefix only the name tells: it lies beside base tensors that did find a place.
    beside = {name.removeprefix(f"{anatomy.prefix}.").split(".")[0] for name in match.found}
    return disk.split(".")[0] in beside and any(anatomy.required(name) for name in match.found)


def _half_there(match: _Match, anatomy: Anatomy) -> list[str]:
    heads = {name.split(".")[0] for name in match.found if not anatomy.required(name)}
    return [
        name for name in match.missing if not anatomy.required(name) and name.split(".")[0] in heads
    ]


def _fill_new(
    model: nn.Module, names: Iterable[str], initialise: Callable[[nn.Module], None]
) -> None:
    """Give tensors that the file lacks memory and fresh values, where they have none yet."""
    fresh: dict[nn.Module, None] = {}
    for name in names:
        owner, leaf = _owner(model, name)
        tensor: Tensor = getattr(owner, leaf)
        if tensor.is_meta:
            setattr(owner, leaf, _as(tensor, torch.empty_like(tensor, device="cpu")))
            fresh[owner] = None
    for owner in fresh:
        initialise(owner)


def _assign(
    model: nn.Module,
    names: list[str],
    targets: Mapping[str, Tensor],
    found: Mapping[str, StoredTensor],
    dtype: torch.dtype | None,
) -> bool:
    """Set one parameter under all its names; return False if the file's values tear it apart."""
    given = {name: found[name].read() for name in names if name in found}
    if not given:
        return True
    first = next(iter(given.values()))
    tied = all(torch.equal(first, other) for other in [*given.values()][1:])
    if not tied:
        notices.warning(
            "%s have different values in the file, so they are not tied", listing(given)
        )
    shared = _as(targets[names[0]], _cast(first, dtype))
    for name in names:
        owner, leaf = _owner(model, name)
        own = not tied and name in given
        setattr(owner, leaf, _as(targets[name], _cast(given[name], dtype)) if own else shared)
    return tied


def _owner(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, leaf = name.rpartition(".")
    return model.get_submodule(path), leaf


def _as(target: Tensor, value: Tensor) -> Tensor:
    is_parameter = isinstance(target, nn.Parameter)
    return nn.Parameter(value, target.requires_grad) if is_parameter else value


def _cast(value: Tensor, dtype: torch.dtype | None) -> Tensor:
    return value.to(dtype) if value.is_floating_point() else value


def _first_float(stored: Iterable[StoredTensor]) -> torch.dtype | None:
    dtypes = (tensor.read().dtype for tensor in stored)
    return next((dtype for dtype in dtypes if dtype.is_floating_point), None)
