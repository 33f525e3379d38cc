"""Tables of text: CSV and TSV."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from regard.data.files import numbered_lines, opened
from regard.data.sources import Columns, EmptyRows, Source, SourceRow, chosen, reader
from regard.errors import DataError, listing

#: Characters of a field at most; Python's own limit of 131,072 is less than a long book chapter.
FIELD_LIMIT = 2**31 - 1


@dataclass(frozen=True)
class Table:
    """A file with one row per line, or with quoted fields one row on several lines.

    Attributes:
        path: The file.
        delimiter: What stands between fields.
        quoted: Whether fields in ``"`` may hold delimiters and line ends; else ``"`` is a letter.
        header: Whether the first row has the names of the columns.
        encoding: The encoding of the text.
        empty_rows: ``"error"`` or ``"skip"``.
    """

    path: Path
    delimiter: str
    quoted: bool
    header: bool
    encoding: str
    empty_rows: str

    def columns(self) -> list[str]:
        """Return the names in the header, or the numbers of the columns from 0 when there is none.

        Raises:
            DataError: The file is empty, or a name stands twice in the header.
        """
        first = next(self._records(), None)
        if first is None:
            raise DataError(f"{self.path}: the file is empty")
        line, fields = first
        if not self.header:
            return [str(number) for number in range(len(fields))]
        # A spreadsheet's column of row numbers has no name.
        names = [name.strip() or f"column_{i}" for i, name in enumerate(fields)]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise DataError(f"{self.path}, line {line}: the header has {twice[0]!r} twice")
        return names

    def rows(self, width: int, picks: Sequence[int]) -> Iterator[SourceRow]:
        """Yield the fields `picks` of each row.

        Raises:
            DataError: A row is empty or has not `width` fields; the message names the line.
        """
        file, records = str(self.path), self._records()
        if self.header:
            next(records, None)
        every = list(picks) == list(range(width))
        empty = EmptyRows(self.path, self.empty_rows)
        for line, fields in records:
            if not any(fields):
                empty.found(line)
                continue
            empty.content_follows()
            if len(fields) != width:
                raise DataError(self._ragged(line, fields, width))
            yield file, line, fields if every else [fields[i] for i in picks]
        empty.close()

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the line and the fields of each row, header included."""
        if not self.quoted:
            delimiter = self.delimiter
            for line, text in numbered_lines(self.path, self.encoding):
                yield line, text.split(delimiter)
            return
        csv.field_size_limit(FIELD_LIMIT)
        with opened(self.path, self.encoding) as file:
            yield from self._quoted(file)

    def _quoted(self, file: IO[str]) -> Iterator[tuple[int, list[str]]]:
        rows = csv.reader(file, delimiter=self.delimiter, strict=True)
        line = 1
        try:
            for fields in rows:
                yield line, fields
                line = rows.line_num + 1  # a quoted field may have taken several lines
        except csv.Error as error:
            raise DataError(
                f"{self.path}, line {line}: {error}; quotes inside a quoted text are doubled "
                f'(""), and a file that is not quoted at all is read with quoted=False'
            ) from error

    def _ragged(self, line: int, fields: Sequence[str], width: int) -> str:
        shown = listing([repr(field[:20]) for field in fields], 4)
        name = {"\t": "tab", ",": "comma", ";": "semicolon"}.get(self.delimiter, self.delimiter)
        fix = (
            f'put a text with a {name} in it in quotes ("...")'
            if self.quoted
            else f"a text must have no {name} in it"
        )
        return (
            f"{self.path}, line {line}: {len(fields)} columns ({shown}); the first row has "
            f"{width}: {fix}"
        )


def csv_source(
    path: str | Path,
    *,
    columns: Columns | None = None,
    header: bool = True,
    delimiter: str = ",",
    quoted: bool = True,
    encoding: str = "utf-8",
    empty_rows: str = "error",
) -> Source:
    """Read a table with commas; every value is a string.

    Args:
        path: The file, gzipped or not.
        columns: Names of the columns to take, or new names with the names or numbers (from 0) that
            they have in the file. Without a header, names for all columns in order.
        header: Whether the first row has the names.
        delimiter: What stands between fields.
        quoted: Whether fields in ``"`` may hold delimiters and line ends.
        encoding: The encoding of the text.
        empty_rows: ``"error"``, or ``"skip"`` to pass over them with one notice.

    Raises:
        DataError: A row is empty or has too many or too few fields, a column is missing, or the
            text has another encoding; the message names file and line.
    """
    if len(delimiter) != 1:
        raise DataError(f"delimiter={delimiter!r}; wanted one character")
    table = Table(Path(path), delimiter, quoted, header, encoding, empty_rows)
    found = table.columns()
    if not header and columns is not None and not hasattr(columns, "keys"):
        if len(columns) != len(found):
            raise DataError(
                f"{path}: {len(found)} columns and {len(columns)} names for them "
                f"({listing(columns)}); to take only some, pass columns={{'name': number}}"
            )
        names, picks = tuple(columns), list(range(len(found)))
    else:
        names, picks = chosen(found, columns, table.path)
    return Source(names, partial(table.rows, len(found), picks))


def tsv_source(
    path: str | Path,
    *,
    columns: Columns | None = None,
    header: bool = True,
    quoted: bool = False,
    encoding: str = "utf-8",
    empty_rows: str = "error",
) -> Source:
    """Read a table with tabs, in which ``"`` is a letter unless `quoted`; see `read_csv`.

    Quotes mean nothing in tab separated values (IANA, text/tab-separated-values): a text that
    begins with one would otherwise swallow the lines after it.
    """
    return csv_source(
        path,
        columns=columns,
        header=header,
        delimiter="\t",
        quoted=quoted,
        encoding=encoding,
        empty_rows=empty_rows,
    )


read_csv = reader(csv_source)
read_tsv = reader(tsv_source)
