"""`Examples`: labelled data in memory that knows where each example came from."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast, overload

import numpy as np

from regard.data.mapping import mapped
from regard.data.origin import Origin, Place
from regard.data.splitting import held_out
from regard.errors import DataError, listing, nearest

#: One example.
Row = dict[str, Any]


class Examples(Sequence[Row]):
    """A sequence of dicts with equal keys: what a model learns from, or is judged by.

    It is also what PyTorch calls a map-style dataset, so a `DataLoader` takes it. An integer gives
    one example, a slice gives `Examples`, a name gives a column. Nothing changes in place: every
    method returns new examples, which share the values of the old.

    Args:
        columns: Values by name, equally many of each.
        origin: Where each example came from, for messages; None when they are in no file.
        class_names: For columns of class numbers, the names of the classes in order.

    Raises:
        DataError: The columns have different lengths.
    """

    def __init__(
        self,
        columns: Mapping[str, Sequence[Any]],
        origin: Origin | None = None,
        class_names: Mapping[str, Sequence[str]] | None = None,
    ):
        self._columns = {name: _as_list(values) for name, values in columns.items()}
        lengths = {name: len(values) for name, values in self._columns.items()}
        if len(set(lengths.values())) > 1:
            shown = listing(f"{name!r} has {length}" for name, length in lengths.items())
            raise DataError(f"columns of different lengths: {shown}")
        self._length = next(iter(lengths.values()), 0)
        self.origin = origin if origin is not None else Origin.in_memory(self._length)
        self.class_names = {name: tuple(names) for name, names in (class_names or {}).items()}

    @property
    def column_names(self) -> list[str]:
        """The names of the columns, in order."""
        return list(self._columns)

    def column(self, name: str) -> list[Any]:
        """Return the values of a column.

        Raises:
            DataError: There is no such column; the message names the nearest.
        """
        if name not in self._columns:
            known = listing(self._columns) or "none"
            raise DataError(
                f"{self._name()}no column {name!r}{nearest(name, self._columns)}; "
                f"the columns are {known}"
            )
        return self._columns[name]

    def where(self, index: int) -> Place:
        """Return where an example came from; as text it reads ``train.tsv, line 7``."""
        return self.origin[range(len(self))[index]]

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Row]:
        names = self.column_names
        for values in zip(*self._columns.values(), strict=True):
            yield dict(zip(names, values, strict=True))

    @overload
    def __getitem__(self, key: int) -> Row: ...
    @overload
    def __getitem__(self, key: slice) -> "Examples": ...
    @overload
    def __getitem__(self, key: str) -> list[Any]: ...
    def __getitem__(self, key: int | slice | str) -> "Row | Examples | list[Any]":
        """Return an example, a range of them, or a column."""
        if isinstance(key, str):
            return self.column(key)
        if isinstance(key, slice):
            return self.select(range(len(self))[key])
        return {name: values[key] for name, values in self._columns.items()}

    def __repr__(self) -> str:
        files = f" from {listing(self.origin.files, 2)}" if any(self.origin.files) else ""
        return f"Examples({len(self)} of {listing(self._columns)}{files})"

    def select(self, indices: Iterable[int]) -> "Examples":
        """Return the examples with these numbers, in this order."""
        chosen = list(indices)
        columns = {name: [c[i] for i in chosen] for name, c in self._columns.items()}
        return Examples(columns, self.origin.take(chosen), self.class_names)

    def filter(self, keep: Callable[[Row], object]) -> "Examples":
        """Return the examples for which `keep` is true."""
        return self.select(i for i, row in enumerate(self) if keep(row))

    def shuffle(self, seed: int) -> "Examples":
        """Return the examples in an order that depends on nothing but `seed` and their number."""
        return self.select(np.random.default_rng(seed).permutation(len(self)).tolist())

    def split(
        self, fraction: float, seed: int = 0, stratify: str | None = None
    ) -> tuple["Examples", "Examples"]:
        """Return two parts, drawn at random: all but `fraction` of the examples, and `fraction`.

        Args:
            fraction: What goes to the second part, such as 0.1 for a validation set.
            seed: The same seed gives the same parts.
            stratify: A column whose values shall be equally frequent in both parts, or None.
        """
        groups = None if stratify is None else [str(value) for value in self.column(stratify)]
        second = held_out(len(self), fraction, seed, groups)
        rest = sorted(set(range(len(self))) - set(second))
        return self.select(rest), self.select(second)

    def joined(self, *others: "Examples") -> "Examples":
        """Return these examples and then the others.

        Raises:
            DataError: They have different columns.
        """
        parts = [self, *others]
        for each in others:
            same = {*each.column_names} == {*self.column_names}
            if not same or each.class_names != self.class_names:
                raise DataError(
                    f"{each._name()}the columns are {listing(each.column_names)}, and those before "
                    f"are {listing(self.column_names)}; wanted the same, with the same classes"
                )
        columns = {
            name: [value for part in parts for value in part.column(name)]
            for name in self.column_names
        }
        origin = Origin.joined([part.origin for part in parts])
        return Examples(columns, origin, self.class_names)

    def rename(self, names: Mapping[str, str]) -> "Examples":
        """Return the examples with columns renamed, old name to new."""
        for old in names:
            self.column(old)
        new = [names.get(name, name) for name in self._columns]
        twice = [name for name in new if new.count(name) > 1]
        if twice:
            raise DataError(f"{self._name()}two columns would be called {twice[0]!r}")
        columns = dict(zip(new, self._columns.values(), strict=True))
        classes = {names.get(name, name): value for name, value in self.class_names.items()}
        return Examples(columns, self.origin, classes)

    def keep(self, names: Sequence[str]) -> "Examples":
        """Return the examples with only these columns, in this order."""
        columns = {name: self.column(name) for name in names}
        return Examples(columns, self.origin, self.class_names)

    def with_column(self, name: str, values: Sequence[Any]) -> "Examples":
        """Return the examples with a column added, or replaced."""
        classes = {key: value for key, value in self.class_names.items() if key != name}
        return Examples({**self._columns, name: values}, self.origin, classes)

    def cast(self, name: str, kind: Callable[[Any], Any]) -> "Examples":
        """Return the examples with a column turned into another type: ``cast("score", float)``.

        Raises:
            DataError: A value cannot be turned; the message names file, line and value.
        """
        values: list[Any] = []
        for index, value in enumerate(self.column(name)):
            try:
                values.append(kind(value))
            except (TypeError, ValueError) as error:
                wanted = getattr(kind, "__name__", str(kind))
                raise DataError(
                    f"{self.where(index)}: {name!r} is {value!r}, which makes no {wanted}"
                ) from error
        return self.with_column(name, values)

    def labels(self, name: str) -> list[str]:
        """Return the names of a column's labels: the given class names, else what occurs, sorted.

        Numbers are sorted as numbers. Lists of labels (one per word, or several per text) count
        each label.

        Raises:
            DataError: A label is missing or empty; the message names file and line.
        """
        if name in self.class_names:
            return list(self.class_names[name])
        found: set[Any] = set()
        for index, value in enumerate(self.column(name)):
            several = cast("list[Any]", value) if isinstance(value, list | tuple) else [value]
            if None in several or "" in several:
                raise DataError(
                    f"{self.where(index)}: the label in {name!r} is empty; fill it in, or leave "
                    f"out the example"
                )
            found.update(several)
        names = sorted({str(value) for value in found})
        numbers = all(label.lstrip("-").isdecimal() for label in names)
        return sorted(names, key=int) if numbers else names

    def map(
        self,
        function: Callable[[Any], Mapping[str, Any]],
        batched: bool = False,
        batch_size: int = 1000,
        remove_columns: Iterable[str] = (),
    ) -> "Examples":
        """Return the examples with the columns that `function` makes, added or replaced.

        Args:
            function: Gets an example as a dict, or with `batched` a dict of lists, and returns a
                dict of the same kind. In batches it may return more or fewer rows than it got (the
                windows of long texts); then no old column can stay, and a column
                ``overflow_to_sample_mapping`` tells which example of the batch each row is from.
            batched: Whether `function` gets many examples at once, as tokenizers like it.
            batch_size: How many.
            remove_columns: Columns to leave out.

        Raises:
            DataError: `function` returns something else. What it raises itself is passed on with a
                note that names file and line.
        """
        removed = set(remove_columns)
        for name in removed:
            self.column(name)
        size = batch_size if batched else None
        columns, owners = mapped(self._columns, self.origin, function, size, removed)
        classes = {n: c for n, c in self.class_names.items() if columns.get(n) is self._columns[n]}
        origin = None if owners is None else self.origin.take(owners)
        return Examples(columns, origin, classes)

    def _name(self) -> str:
        return f"{listing(self.origin.files, 2)}: " if any(self.origin.files) else ""


def _as_list(values: Any) -> list[Any]:
    return cast("list[Any]", values) if isinstance(values, list) else list(values)
