"""SentencePiece's own way from a text to pieces, character for character.

The Rust library normalizes grapheme by grapheme and has its own idea of a space. Most families are
used with that; Marian's are used with SentencePiece itself (Kudo and Richardson, 2018, section 3).
"""

import struct
from collections.abc import Mapping
from itertools import accumulate

from tokenizers import PreTokenizedString, Token
from tokenizers.models import Unigram

from regard.errors import ConfigError
from regard.text.pieces import BYTE, CONTROL, NORMAL, UNKNOWN, USER_DEFINED, PieceModel

SPACE = "▁"

#: A table without rules: a trie of one node.
_NO_RULES = struct.pack("<II", 4, 0)

#: Stands for the unknown piece where pieces are looked up; no text has it.
_NOTHING = "\ufdd0unknown\ufdd1"


#: A piece, and the characters ``[start, end)`` of the text that it is made of.
Segment = tuple[str, int, int]


class Rules:
    """What SentencePiece's normalizer replaces: the longest rule that fits, at each place.

    The rules are a double-array trie over bytes, as the library Darts-clone writes it, and the
    replacements one after the other, each with a zero byte at its end.
    """

    def __init__(self, table: bytes):
        (size,) = struct.unpack_from("<I", table)
        self._units = struct.unpack_from(f"<{size // 4}I", table, 4)
        self._texts = table[4 + size :]
        #: Two characters, of which the first is left as it is, whatever follows; most are such.
        self.plain: set[str] = set()

    def replace(self, text: str, at: int) -> tuple[str, int]:
        """Return what stands for the characters from `at` on, and where the next ones begin."""
        found: tuple[int, int] | None = None
        node, end = _child(self._units[0]), at
        while node >= 0 and end < len(text):
            node, ends_rule = self._walk(node, text[end])
            end += 1
            if ends_rule:
                found = self._units[node] & 0x7FFFFFFF, end
        if found is None:
            if end == at + 1 or (end == at + 2 and node < 0):
                self.plain.add(text[at : at + 2])
            return text[at], at + 1
        start, end = found
        return self._texts[start : self._texts.index(0, start)].decode("utf-8"), end

    def _walk(self, node: int, character: str) -> tuple[int, bool]:
        """Return the node after `character`, -1 for none, and whether a rule ends there."""
        unit = 0
        for byte in character.encode("utf-8"):
            node ^= byte
            unit = self._units[node] if node < len(self._units) else 0
            if unit & 0x800000FF != byte:
                return -1, False
            node ^= _child(unit)
        return node, bool(unit & 0x100)


def _child(unit: int) -> int:
    return unit >> 10 << ((unit & 0x200) >> 6)


class Segmenter:
    """Cuts texts into the pieces of a Unigram model; can be pickled."""

    def __init__(self, model: PieceModel):
        kinds = {piece.kind for piece in model.pieces}
        if {USER_DEFINED, BYTE} & kinds:
            raise ConfigError("user-defined pieces and byte fallback are not implemented here")
        self.model = model
        self._rules = Rules(model.table or _NO_RULES)
        self._kinds = {piece.text: piece.kind for piece in model.pieces}
        normal = [(piece.text, piece.score) for piece in model.pieces if piece.kind == NORMAL]
        self._unigram = Unigram([(_NOTHING, 0.0), *normal], unk_id=0)

    def __reduce__(self) -> tuple[type["Segmenter"], tuple[PieceModel]]:
        return Segmenter, (self.model,)

    def segments(self, text: str) -> list[Segment]:
        """Return the pieces of `text`; neighbours that no piece covers are one."""
        characters, spans = self._normalize(text)
        found: list[Segment] = []
        at = 0
        for token in self._unigram.tokenize(characters):
            piece = token.value
            end = at + len(piece)
            found.append((piece, spans[at][0], spans[end - 1][1]))
            at = end
        return found

    def join(self, pieces: list[str]) -> str:
        """Return the text that pieces stand for."""
        found = ""
        # The space that every text begins with is nobody's.
        strip = self.model.dummy_prefix or self.model.collapse
        for piece in pieces:
            kind = self._kinds.get(piece)
            if kind == NORMAL:
                if strip and not found and piece.startswith(SPACE):
                    piece, strip = piece.removeprefix(SPACE), self.model.collapse
                found += piece.replace(SPACE, " ")
            elif kind == UNKNOWN:
                found += " \u2047 "
            elif kind != CONTROL:
                found += piece
        return found

    def _normalize(self, text: str) -> tuple[str, list[tuple[int, int]]]:
        """Return the normalized characters and, for each, where in `text` it comes from."""
        found: list[str] = []
        spans: list[tuple[int, int]] = []
        at, after_space = 0, self.model.collapse
        plain = self._rules.plain
        while at < len(text):
            start, new, at = at, text[at], at + 1
            if text[start : start + 2] not in plain:
                new, at = self._rules.replace(text, start)
            if after_space:
                new = new.lstrip(" ")
            if new:
                found += new
                spans += [(start, at)] * len(new)
                after_space = self.model.collapse and new[-1] == " "
        if text and self.model.dummy_prefix:
            found, spans = [SPACE, *found], [*(spans[:1] or [(0, len(text))]), *spans]
        characters = "".join(found).replace(" ", SPACE)
        return characters.rstrip(SPACE) if self.model.collapse else characters, spans


class Lookup:
    """A `Segmenter` and the numbers of its pieces as one step of the Rust library.

    The Rust library has no model that looks pieces up, so this step makes the tokens itself.
    """

    def __init__(self, model: PieceModel, numbers: Mapping[str, int], unknown: int):
        self.segmenter = Segmenter(model)
        self.numbers = dict(numbers)
        self._unknown = unknown

    def pre_tokenize(self, text: PreTokenizedString) -> None:
        """Make tokens of the parts of a text that are not special tokens."""
        text.tokenize(self._tokens)

    def _tokens(self, text: str) -> list[Token]:
        # A code such as >>fr<< before the text is a piece of its own.
        code = text.find("<<") + 2 if text.startswith(">>") and "<<" in text else 0
        first = [(text[:code], 0, code)] if code else []
        rest = self.segmenter.segments(text[code:])
        # The Rust library counts bytes.
        before = [*accumulate(map(len, map(str.encode, text)), initial=0)]
        number = self.numbers.get
        return [
            Token(number(piece, self._unknown), piece, (before[start], before[end]))
            for piece, start, end in [*first, *((p, a + code, b + code) for p, a, b in rest)]
        ]
