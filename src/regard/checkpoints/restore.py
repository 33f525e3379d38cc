"""Put back exactly what `save_weights` wrote of the same model, as a resumed run needs it."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from regard.checkpoints.files import CheckpointFolder
from regard.checkpoints.keymap import disk_places
from regard.checkpoints.load import tie_groups
from regard.checkpoints.tensors import open_tensors
from regard.errors import CheckpointError, listing


def restore_weights(
    model: nn.Module,
    folder: CheckpointFolder,
    second_names: Iterable[str] = (),
    copy: Callable[[Tensor, Tensor], object] = Tensor.copy_,
) -> None:
    """Copy stored weights into `model`, whose parameters stay the objects that they are.

    Nothing is cast, nothing may lack and nothing may be left over.

    Args:
        model: The model that was saved, or one made like it.
        folder: What `save_weights` wrote.
        second_names: Tensors that may stand in the file once more under another name.
        copy: Sets a tensor of the model, its first argument, to one of the file.

    Raises:
        CheckpointError: The folder has the weights of another model; names the tensors.
    """
    targets, stored = dict(model.state_dict(keep_vars=True)), open_tensors(folder)
    places = disk_places(model, [names[0] for names in tie_groups(targets)])
    used = {place.name for place in places.values()}
    found: dict[str, Tensor] = {}
    wrong = [f"{name} has no place" for name in stored if name not in used | {*second_names}]
    for name, place in places.items():
        if place.name not in stored:
            wrong.append(f"{name} is missing")
            continue
        found[name] = place.take(stored[place.name].read())
        there, here = _kind(found[name]), _kind(targets[name])
        if there != here:
            wrong.append(f"{name} is {there} in the file and {here} in the model")
    if wrong:
        raise CheckpointError(f"{folder.name} is not of this model: {listing(wrong)}")
    with torch.no_grad():
        for name, tensor in found.items():
            copy(targets[name], tensor)


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{[*tensor.shape]}"
