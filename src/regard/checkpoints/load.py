"""Put a checkpoint's tensors into a model: every tensor accounted for, nothing silently random."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from regard.checkpoints.anatomy import Anatomy, above
from regard.checkpoints.files import CheckpointFolder
from regard.checkpoints.keymap import Place, current_name, disk_names, disk_places
from regard.checkpoints.tensors import StoredTensor, open_tensors
from regard.errors import CheckpointError, listing, notices


@dataclass(frozen=True)
class LoadRequest:
    """How strict to be, and in which dtype.

    Attributes:
        dtype: Of all floating tensors; None keeps that of the file's first one.
        strict: Refuse a checkpoint whose base weights are not exactly the model's.
        reshape_head: Whether a head of another size in the file may be replaced by a new one.
        initialise: Fills the parameters of one module with fresh random values.
        comes_later: Whether the tensor of that name on disk comes from other files than these.
    """

    initialise: Callable[[nn.Module], None]
    dtype: torch.dtype | None = None
    strict: bool = True
    reshape_head: bool = False
    comes_later: Callable[[str], bool] = lambda _: False


@dataclass(frozen=True)
class _Match:
    """Which stored tensor goes where (by name in memory), and what is left on either side.

    Attributes:
        places: Name on disk, in today's spelling, to the names in memory of what lies there.
        optional: Path in memory of every part that may lack, to its path on disk.
        found: Name in memory to the tensor that goes there.
        misshapen: Name in memory to what is wrong with the tensor of that name.
        unexpected: Names on disk of tensors without a place.
        missing: First name in memory of every tensor that the file lacks, but for buffers that it
            may lack.
    """

    places: dict[str, list[str]]
    optional: dict[str, str] = field(default_factory=dict[str, str])
    found: dict[str, StoredTensor] = field(default_factory=dict[str, StoredTensor])
    misshapen: dict[str, str] = field(default_factory=dict[str, str])
    unexpected: list[str] = field(default_factory=list[str])
    missing: list[str] = field(default_factory=list[str])


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
    if request.dtype is not None and not request.dtype.is_floating_point:
        raise ValueError(f"dtype {request.dtype} is not a floating type such as torch.bfloat16")
    targets = dict(model.state_dict(keep_vars=True))
    match = _match(model, targets, open_tensors(folder), anatomy)
    _judge(match, anatomy, request, folder.name)
    groups = tie_groups(targets)
    lacking = [names for names in groups if not match.found.keys() & names]
    _fill_new(model, lacking, request, folder.name)
    dtype = request.dtype or _first_float(match.found.values())
    tied = [_assign(model, names, targets, match.found, dtype) for names in groups]
    model.to(dtype)
    return all(tied)


def check_weights(model: nn.Module, folder: CheckpointFolder, anatomy: Anatomy) -> None:
    """Raise, or give notices, as `load_weights` would, and leave `model` as it is."""
    match = _match(model, dict(model.state_dict(keep_vars=True)), open_tensors(folder), anatomy)
    _judge(match, anatomy, LoadRequest(initialise=lambda _: None), folder.name)


def todays_names(model: nn.Module, anatomy: Anatomy) -> Callable[[str], str | None]:
    """Return a map from the name of a stored tensor, however old, to the one that `model` writes.

    None is a buffer to leave out. A tensor that has no place in `model` keeps its name.
    """
    places = {*disk_names(model, model.state_dict()).values()}
    # What stands under a second name may differ, so it stays there.
    only_first = replace(anatomy, aliases={})
    return lambda name: _todays_name(name, places, only_first)


def tie_groups(targets: Mapping[str, Tensor]) -> list[list[str]]:
    """Return the names of each parameter; more than one where parameters are tied."""
    groups: dict[int, list[str]] = {}
    for name, tensor in targets.items():
        groups.setdefault(id(tensor), []).append(name)
    return [*groups.values()]


def _match(
    model: nn.Module,
    targets: Mapping[str, Tensor],
    stored: Mapping[str, StoredTensor],
    anatomy: Anatomy,
) -> _Match:
    layout, groups = disk_places(model, targets), tie_groups(targets)
    optional = disk_names(model, anatomy.optional)
    match = _Match({place.name: [] for place in layout.values()}, optional)
    for name, place in layout.items():
        match.places[place.name].append(name)
    originals = _originals(match, layout, groups, stored, anatomy)
    for name, original in originals.items():
        tensor = _part(stored[original], layout[name])
        wrong = _misfit(tensor, targets[name])
        if wrong:
            match.misshapen[name] = f"{name} {wrong}"
        else:
            match.found[name] = tensor
    kept = {n for n, t in targets.items() if not isinstance(t, nn.Parameter)}
    kept = {name for name in kept if above(name, anatomy.optional) is not None}
    lacking = [names[0] for names in groups if not originals.keys() & {*names}]
    match.missing.extend(name for name in lacking if name not in kept)
    return match


def _originals(
    match: _Match,
    layout: Mapping[str, Place],
    groups: Iterable[list[str]],
    stored: Mapping[str, StoredTensor],
    anatomy: Anatomy,
) -> dict[str, str]:
    """Return the name in the file of each of the model's tensors; note there what has no place."""
    originals: dict[str, str] = {}
    others = {place.otherwise: "" for place in layout.values() if place.otherwise}
    known = {*match.places, *others}
    # Second names come last: where they differ they count.
    for original in sorted(stored, key=lambda each: current_name(each) in anatomy.aliases):
        disk = _todays_name(original, known, anatomy)
        names = match.places.get(disk or "", [])
        for name in names:
            if name in originals:
                _compare_names(originals[name], original, stored, anatomy)
            originals[name] = original
        if disk in others:
            others[disk] = original
        elif disk is not None and not names:
            match.unexpected.append(disk)
    for names in groups:
        if not originals.keys() & {*names}:
            spare = {name: others.get(layout[name].otherwise or "") for name in names}
            originals |= {name: other for name, other in spare.items() if other}
    return originals


def _part(stored: StoredTensor, place: Place) -> StoredTensor:
    if not place.transposed and place.parts == 1:
        return stored
    shape = place.shape(stored.shape)
    # Laid out anew: products read a turned matrix, or a third of one, at half the speed.
    return replace(stored, shape=shape, read=lambda: place.take(stored.read()).contiguous())


def _todays_name(original: str, places: Iterable[str], anatomy: Anatomy) -> str | None:
    """Return what `original` is called today, or None for a buffer that is recomputed.

    A name that has a place as it stands is never reinterpreted: a model of your own may well call
    a module ``module`` or a parameter ``gamma``.
    """
    today = current_name(original)
    if today is not None:
        today = anatomy.aliases.get(today, today)
    names = [original] if today is None else [original, today]
    spelled = (each for name in names for each in anatomy.spellings(name))
    found = next((each for each in spelled if each in places), None)
    if found is not None or today is None:
        return found
    parts = {anatomy.part(disk) for disk in places}
    return original if anatomy.part(original) in parts else today


def _compare_names(
    first: str, second: str, stored: Mapping[str, StoredTensor], anatomy: Anatomy
) -> None:
    if _same(stored[first].read(), stored[second].read()):
        return
    file = stored[second].file
    if current_name(second) not in anatomy.aliases:
        raise CheckpointError(
            f"{file}: {first!r} and {second!r} are the same tensor, with different values"
        )
    notices.warning("%s: %s and %s differ; the first counts", file, second, first)


def _misfit(stored: StoredTensor, target: Tensor) -> str:
    """Say why `stored` cannot stand where `target` does, or return ``""``."""
    if stored.shape != tuple(target.shape):
        return f"is {list(stored.shape)} in the file and {list(target.shape)} in the model"
    if stored.dtype.is_floating_point != target.is_floating_point():
        return f"is {stored.dtype} in the file and {target.dtype} in the model"
    return ""


def _judge(match: _Match, anatomy: Anatomy, request: LoadRequest, source: str) -> None:
    """Raise for what must not be, and give a notice for what may be but should be known."""
    later = {n for d, names in match.places.items() if request.comes_later(d) for n in names}
    missing = [name for name in match.missing if anatomy.required(name) and name not in later]
    free = match.misshapen if request.reshape_head else later & match.misshapen.keys()
    replaced = [name for name in free if not anatomy.required(name)]
    inside = _inside_base(match, anatomy)
    halved = _half_there(match, anatomy)
    problems = [
        f"{what} ({len(names)}): {listing(names)}"
        for what, names in (
            ("missing", missing),
            ("not in the model", inside),
            ("misfits", [text for name, text in match.misshapen.items() if name not in replaced]),
            ("missing while the rest of their head is there", halved),
        )
        if names
    ]
    if problems and request.strict:
        files = listing(sorted({tensor.file.name for tensor in match.found.values()}))
        raise CheckpointError(
            f"{source}{files and f' ({files})'} does not fit this model.\n  "
            + "\n  ".join(problems)
            + "\nCheck that the configuration belongs to these weights; for a head of another size "
            "give num_labels; strict=False loads what fits and leaves the rest random"
        )
    for problem in problems:
        notices.warning("%s: %s", source, problem)
    lacking = {*match.missing, *match.misshapen} - later
    new = [name for names in match.places.values() for name in names if name in lacking]
    if new:
        notices.warning("%s: new and random until trained: %s", source, listing(new))
    absent = _optional_parts(match, anatomy, there=False)
    left_out = [
        name
        for name in match.unexpected
        if name not in inside and not _lies_in(name, absent, anatomy)
    ]
    if left_out:
        notices.warning("%s: left out, no place in this model: %s", source, listing(left_out))


def _inside_base(match: _Match, anatomy: Anatomy) -> list[str]:
    """Return the stored tensors without a place that belong to the base: their loss matters."""
    # Without the prefix only the name tells: it lies beside base tensors that did find a place.
    beside = {
        anatomy.part(disk)
        for disk, names in match.places.items()
        for name in names
        if name in match.found and anatomy.required(name)
    }
    # A part that may be absent matters only to a model that was built with it.
    absent = _optional_parts(match, anatomy, there=False)
    present = _optional_parts(match, anatomy, there=True)
    return [
        disk
        for disk in match.unexpected
        if not _lies_in(disk, absent, anatomy)
        and (
            disk.startswith(f"{anatomy.prefix}.")
            or anatomy.part(disk) in beside
            or _lies_in(disk, present, anatomy)
        )
    ]


def _optional_parts(match: _Match, anatomy: Anatomy, *, there: bool) -> list[str]:
    """Return the names on disk of the optional parts that the model has, or of those it has not."""
    built = {above(name, anatomy.optional) for names in match.places.values() for name in names}
    return [disk for path, disk in match.optional.items() if (path in built) == there]


def _lies_in(disk: str, parts: Iterable[str], anatomy: Anatomy) -> bool:
    parts = [*parts]
    return any(above(name, parts) is not None for name in anatomy.spellings(disk))


def _half_there(match: _Match, anatomy: Anatomy) -> list[str]:
    heads = {anatomy.head(name) for name in match.found if not anatomy.required(name)}
    return [
        name for name in match.missing if not anatomy.required(name) and anatomy.head(name) in heads
    ]


def _fill_new(
    model: nn.Module, groups: Iterable[list[str]], request: LoadRequest, source: str
) -> None:
    """Give parameters that the file lacks memory and fresh values, where they have none yet."""
    fresh: dict[nn.Module, list[str]] = {}
    for names in groups:
        owner, leaf = _owner(model, names[0])
        tensor: Tensor = getattr(owner, leaf)
        if not tensor.is_meta:
            continue
        # What is still NaN afterwards is what nobody filled.
        unset = torch.nan if tensor.is_floating_point() else 0
        value = _as(tensor, torch.full_like(tensor, unset, device="cpu"))
        fresh.setdefault(owner, []).append(names[0])
        for name in names:
            each, leaf = _owner(model, name)
            setattr(each, leaf, value)
    for owner, names in fresh.items():
        request.initialise(owner)
        left = [name for name in names if not _is_filled(getattr(*_owner(model, name)))]
        if left:
            raise CheckpointError(
                f"{source} lacks {listing(left)}, which init_module of the model around it leaves "
                f"unset; let it fill a {type(owner).__name__}, or load a file that has all of it"
            )


def _is_filled(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and not bool(tensor.isnan().any())


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
    tied = all(_same(first, other) for other in [*given.values()][1:])
    if not tied:
        notices.warning(
            "%s have different values in the file, so they are not tied", listing(given)
        )
    shared = _as(targets[names[0]], _cast(first, dtype))
    for name in names:
        owner, leaf = _owner(model, name)
        if not tied:  # what the file lacks is the first, but no longer one with it
            own = given[name] if name in given else first.clone()
            shared = _as(targets[name], _cast(own, dtype))
        setattr(owner, leaf, shared)
    return tied


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same values; NaN is the same as NaN."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if torch.equal(one, other):
        return True
    floating = one.is_floating_point()
    return floating and torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)


def _owner(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, leaf = name.rpartition(".")
    return model.get_submodule(path), leaf


def _as(target: Tensor, value: Tensor) -> Tensor:
    is_parameter = isinstance(target, nn.Parameter)
    return nn.Parameter(value, target.requires_grad) if is_parameter else value


def _cast(value: Tensor, dtype: torch.dtype | None) -> Tensor:
    return value.to(dtype) if value.is_floating_point() else value


def _first_float(stored: Iterable[StoredTensor]) -> torch.dtype | None:
    dtypes = (tensor.dtype for tensor in stored)
    return next((dtype for dtype in dtypes if dtype.is_floating_point), None)
