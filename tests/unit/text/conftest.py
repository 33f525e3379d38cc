"""A small vocabulary, with which every number in these tests can be checked by hand."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from regard.errors import notices
from regard.text import BertTokenizer

WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "lazy", "dog", *"abcdefgh.,!"]
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "##s", "##ly"]


@pytest.fixture
def vocab_file(tmp_path: Path) -> Path:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def tokenizer() -> BertTokenizer:
    vocabulary = {token: number for number, token in enumerate(TOKENS)}
    return BertTokenizer(vocabulary, model_max_length=12)


class Notices(logging.Handler):
    """Every notice that was given, in order."""

    def __init__(self):
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


@pytest.fixture
def said() -> Iterator[list[str]]:
    handler = Notices()
    notices.addHandler(handler)
    yield handler.said
    notices.removeHandler(handler)
