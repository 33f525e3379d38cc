"""What the tests of data share: files written on the spot, and a vocabulary checked by hand."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from regard.text import BertTokenizer

WORDS = [*"abcdefghijklmnopqrstuvwxyz", "the", "film", "is", "great", ".", "!", "?", ","]
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "##s", "##ly", "##er"]

Write = Callable[[str, str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def file(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return file


def small_tokenizer() -> BertTokenizer:
    vocabulary = {token: number for number, token in enumerate(TOKENS)}
    return BertTokenizer(vocabulary, model_max_length=64)


@pytest.fixture(scope="session")
def tokenizer() -> BertTokenizer:
    return small_tokenizer()
