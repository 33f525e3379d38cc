"""`Job`: one call of a pipeline. What a task does is four steps; the pipeline does the rest."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from torch import Tensor

from regard.batch import Layout, TokenBatch
from regard.pipelines.reading import Cut, Reader

#: What is one input, though one can go through it.
_ONE = (str, bytes, Mapping, tuple)

#: What an input is after it was checked.
Given = TypeVar("Given")


class Inputs(Generic[Given]):
    """What a task takes."""

    @property
    def spread(self) -> int:
        """How many usual inputs one is worth: that many fewer are worked on together."""
        return 1

    def check(self, item: Any) -> Given:
        """Return an input in one form.

        Raises:
            TypeError: It is no input for this task.
            ValueError: It cannot be answered.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what its inputs are")


class Job(Inputs[Given]):
    """How inputs become windows, and what a model says of the windows becomes answers."""

    def cut(self, inputs: Sequence[Given]) -> Sequence[Cut | ValueError]:
        """Return the windows of each input, or in their place why there are none."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it reads")

    def forward(self, batch: TokenBatch) -> Sequence[Any]:
        """Return what the model says of each sequence of a packed batch."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it asks the model")

    def answer(self, given: Given, cut: Cut, found: Sequence[Any]) -> Any:
        """Return the answer to one input, from what was found in each of its windows."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it answers")


@dataclass(frozen=True)
class TextJob(Job[str]):
    """A job whose inputs are single texts.

    Args:
        reader: Cuts texts into windows.
        offsets: Whether answers point into the text.
    """

    reader: Reader
    offsets: bool = False

    def check(self, item: Any) -> str:
        """Return a text."""
        return check_text(item)

    def cut(self, inputs: Sequence[str]) -> Sequence[Cut | ValueError]:
        """Return the windows of each text."""
        return self.reader.texts(inputs, offsets=self.offsets)


@dataclass(frozen=True)
class Failure:
    """Stands in the place of an answer that there is none for; see ``on_error``.

    Attributes:
        index: Number of the input, from 0.
        error: What is wrong with it.
    """

    index: int
    error: str


def is_one(given: Any) -> bool:
    """Whether a pipeline was given one input, and not many."""
    return isinstance(given, _ONE) or not isinstance(given, Iterable)


def shaped(given: Any, results: Iterator[Any]) -> Any:
    """Return `results` in the shape of what was `given`: one, a list, or an iterator."""
    if is_one(given):
        return next(results)
    return [*results] if isinstance(given, Sized) else results


def check_text(item: object, what: str = "a text") -> str:
    """Return a string that can be tokenized.

    Args:
        item: What may be one.
        what: What it is to be, for messages.

    Raises:
        TypeError: It is no string.
        ValueError: It is not valid Unicode.
    """
    if not isinstance(item, str):
        shown = repr(item) if item is None or isinstance(item, int | float) else ""
        raise TypeError(f"wanted {what}; found {type(item).__name__} {shown}".rstrip())
    try:
        item.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{what} has half of a surrogate pair ({item[error.start]!r} at character "
            f"{error.start}); clean it with text.encode('utf-8', 'replace').decode()"
        ) from error
    return str(item)


def check_pair(item: object, names: tuple[str, str]) -> tuple[str, str]:
    """Return the two texts of a mapping with these names, or of a tuple.

    Raises:
        TypeError: It is neither, or one of them is no string.
        ValueError: A name is missing.
    """
    kind = type(item).__name__
    if isinstance(item, Mapping):
        given = cast("Mapping[str, Any]", item)
        missing = [name for name in names if name not in given]
        if missing:
            raise ValueError(
                f"an input needs {' and '.join(map(repr, names))}; {missing[0]!r} is missing"
            )
        return check_text(given[names[0]], names[0]), check_text(given[names[1]], names[1])
    texts = cast("tuple[Any, ...]", item) if isinstance(item, tuple) else ()
    if len(texts) == 2:
        return check_text(texts[0], names[0]), check_text(texts[1], names[1])
    raise TypeError(f'wanted {{"{names[0]}": ..., "{names[1]}": ...}} or a tuple; found {kind}')


def per_sequence(packed: Tensor, layout: Layout) -> list[Any]:
    """Return packed values (tokens, ...) as one array per sequence, in the caller's order."""
    values = as_numpy(packed)
    starts = cast("list[int]", layout.offsets.tolist())
    return [values[starts[i] : starts[i + 1]] for i in cast("list[int]", layout.rows.tolist())]


def as_numpy(tensor: Tensor) -> Any:
    """Return a NumPy array, sharing memory where it can; bfloat16 becomes float32."""
    cpu = tensor.cpu()
    return (cpu.float() if cpu.dtype.itemsize < 4 else cpu).numpy()
