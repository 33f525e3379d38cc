"""Reads the ``.model`` files of SentencePiece, without that package.

Such a file is one protobuf message, of which a tokenizer needs a handful of fields. The package
reads it, too, but hands out neither the normalizer's table nor the kind of model; that takes
protobuf and the compiled description besides. The format has stood still since 2018, so a short
reader does with no dependency (sentencepiece_model.proto in google/sentencepiece).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken
from tokenizers.normalizers import Precompiled

from regard.checkpoints.files import File
from regard.errors import CheckpointError, CheckpointNotFoundError, ConfigError

#: What a piece is: `ModelProto.SentencePiece.Type`.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)

#: `TrainerSpec.ModelType`.
_ALGORITHMS = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}


@dataclass(frozen=True)
class Piece:
    """One entry of the vocabulary: its text, its score, and what it is, such as `CONTROL`."""

    text: str
    score: float
    kind: int


@dataclass(frozen=True)
class PieceModel:
    """What a ``.model`` file says.

    Attributes:
        pieces: The vocabulary in the order of its numbers.
        algorithm: ``"unigram"``, ``"bpe"``, ``"word"`` or ``"char"``.
        byte_fallback: Whether a character without a piece becomes pieces for its bytes.
        dummy_prefix: Whether a text begins with a space of its own.
        collapse: Whether spaces in a row are one, and none at the ends of a text.
        table: The normalizer's rules as the file has them; empty for none.
    """

    pieces: list[Piece]
    algorithm: str
    byte_fallback: bool
    dummy_prefix: bool
    collapse: bool
    table: bytes

    @property
    def normalizer(self) -> Precompiled | None:
        """What is done to a text first, or None."""
        return Precompiled(self.table) if self.table else None

    @property
    def unknown(self) -> int:
        """The number of the unknown piece."""
        return next(n for n, piece in enumerate(self.pieces) if piece.kind == UNKNOWN)

    @property
    def user_defined(self) -> list[AddedToken]:
        """The pieces that no text is split across."""
        texts = (piece.text for piece in self.pieces if piece.kind == USER_DEFINED)
        return [AddedToken(text, normalized=False) for text in texts]

    @property
    def scores(self) -> list[tuple[str, float]]:
        """The text and the score of each piece."""
        return [(piece.text, piece.score) for piece in self.pieces]


def read_pieces(path: str | File | PieceModel, algorithm: str) -> PieceModel:
    """Return what a ``.model`` file says.

    Args:
        path: Where it is; what was read, or made, before is returned.
        algorithm: The kind of model that is wanted.

    Raises:
        CheckpointError: The file is not there, damaged, or something else.
        ConfigError: It asks for what is not implemented.
    """
    if isinstance(path, PieceModel):
        return path
    path = Path(path) if isinstance(path, str) else path
    if not path.is_file():
        raise CheckpointNotFoundError(f"{path}: there is no such file")
    content = path.read_bytes()
    try:
        model = _read(content)
        kinds = [piece.kind for piece in model.pieces]
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    except (ValueError, IndexError, KeyError, TypeError, struct.error) as error:
        raise CheckpointError(
            f"{path}: damaged or not a SentencePiece model ({error}); download it again"
        ) from error
    if kinds.count(UNKNOWN) != 1:
        raise CheckpointError(
            f"{path}: has {kinds.count(UNKNOWN)} unknown pieces among {len(kinds)}; it is damaged "
            f"or not a SentencePiece model; download it again"
        )
    if model.algorithm != algorithm:
        raise CheckpointError(
            f"{path}: holds a model of the kind {model.algorithm}; wanted {algorithm}"
        )
    return model


def _read(data: bytes) -> PieceModel:
    """Return the model in the message `data`; the numbers are those of the .proto file."""
    pieces: list[Piece] = []
    trainer: dict[int, int | bytes] = {}
    normalizer: dict[int, int | bytes] = {}
    for number, value in _fields(data):
        if number == 1:
            fields = dict(_fields(_bytes(value)))
            (score,) = struct.unpack("<f", _bytes(fields.get(2, b"\0\0\0\0")))
            text = _bytes(fields.get(1, b"")).decode("utf-8")
            pieces.append(Piece(text, score, _int(fields.get(3, NORMAL))))
        elif number == 2:
            trainer |= dict(_fields(_bytes(value)))
        elif number == 3:
            normalizer |= dict(_fields(_bytes(value)))
    if trainer.get(24) or not normalizer.get(5, 1):
        raise ConfigError(
            "treat_whitespace_as_suffix and escape_whitespaces=false are not implemented"
        )
    table = _bytes(normalizer.get(2, b""))
    _check_table(table)
    return PieceModel(
        pieces,
        _ALGORITHMS[_int(trainer.get(3, 1))],
        bool(trainer.get(35, 0)),
        bool(normalizer.get(3, 1)),
        bool(normalizer.get(4, 1)),
        table,
    )


def _check_table(table: bytes) -> None:
    try:
        Precompiled(table or b"\0\0\0\0")
    except Exception as error:  # the Rust library raises nothing more precise
        raise ValueError(str(error)) from error


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the fields of a message: their numbers, and integers or raw bytes."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"unknown kind of field at byte {at}")
        if at + size > len(data):
            raise ValueError(f"ends within a field at byte {at}")
        yield tag >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the integer at byte `at`, seven bits per byte, and where it ends."""
    value = shift = 0
    while data[at] & 0x80:
        if shift > 63:
            raise ValueError(f"an integer of more than 64 bits at byte {at}")
        value |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
    return value | data[at] << shift, at + 1


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("an integer where text should be")
    return value


def _int(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ValueError("text where an integer should be")
    return value
