"""The tokenizer in a GGUF file: the files that its metadata was made of, made again.

A byte-level vocabulary becomes a tokenizer.json, and the pieces of a SentencePiece model become a
.model file. Special tokens, their flags and the chat template stand in tokenizer_config.json.
"""

import json
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from regard.checkpoints.gguf.header import Header
from regard.errors import CheckpointError, notices

#: What a token is: SentencePiece's numbers, which GGUF has for all kinds of tokenizers.
CONTROL, USER_DEFINED, BYTE = 3, 4, 6
_TYPES = "tokenizer.ggml.token_type"

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def _split(digits: str) -> list[dict[str, Any]]:
    """Return the steps that split a text as the tokenizers since GPT-4 do."""
    pattern = rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}{_REST}"
    step = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return [step, _byte_level(use_regex=False)]


def _byte_level(*, use_regex: bool) -> dict[str, Any]:
    flags = {"add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}
    return {"type": "ByteLevel", **flags}


_GPT2 = [_byte_level(use_regex=True)]
_LLAMA3 = _split(r"\p{N}{1,3}")
#: The steps before the merges; llama.cpp gives each tokenizer that it knows a name.
PRE_TOKENIZERS: Mapping[str, list[dict[str, Any]]] = {
    "default": _GPT2,
    "gpt-2": _GPT2,
    "llama-bpe": _LLAMA3,
    "llama3": _LLAMA3,
    "llama-v3": _LLAMA3,
    "qwen2": _split(r"\p{N}"),
    "deepseek-r1-qwen": _split(r"\p{N}"),
    "smollm": [{"type": "Digits", "individual_digits": True}, *_GPT2],
}
#: Those that take a word that is a token as it is, whatever the merges say, and begin with BOS.
_WHOLE_WORDS = ("llama-bpe", "llama3", "llama-v3")
#: Those that compose characters first (NFC).
_COMPOSED = ("qwen2", "deepseek-r1-qwen")


def tokenizer_kind(header: Header) -> str | None:
    """Return what llama.cpp calls the kind of tokenizer, or None where the file has none."""
    kind = header.get("tokenizer.ggml.model", str, "none")
    return None if kind == "none" else kind


def tokenizer_config(header: Header) -> bytes:
    """Return the tokenizer_config.json that the metadata stands for."""
    kind = tokenizer_kind(header)
    if kind not in TOKENIZERS:
        raise CheckpointError(
            f"{header.file}: has a tokenizer of the kind {kind!r}; {', '.join(TOKENIZERS)} are read"
        )
    tokens = _tokens(header)
    length = header.get(f"{header.architecture}.context_length", int, 0)
    template = header.get("tokenizer.chat_template", str, "")
    config = {
        # The one class is made of pieces, the other reads any tokenizer.json.
        "tokenizer_class": "LlamaTokenizer" if kind == "llama" else "PreTrainedTokenizerFast",
        "added_tokens_decoder": {
            str(number): _added(tokens[number], special=special)
            for number, special in _marked(header, len(tokens)).items()
        },
        "clean_up_tokenization_spaces": False,
        **{name: token for name in _NAMES if (token := _named(header, tokens, name)) is not None},
        **{name: _frames(header, name) for name in ("add_bos_token", "add_eos_token")},
        **({"model_max_length": length} if length else {}),
        **({"chat_template": template} if template else {}),
    }
    return _json(config)


def tokenizer_json(header: Header) -> bytes:
    """Return the tokenizer.json of a byte-level vocabulary."""
    tokens = _tokens(header)
    name = _pre_tokenizer(header)
    if name == "default" and header.architecture != "gpt2":
        notices.warning(
            "%s does not say how texts are split before the merges; GPT-2's way is taken",
            header.file,
        )
    bos, eos = (
        _named(header, tokens, f"{end}_token") if _frames(header, f"add_{end}_token") else None
        for end in ("bos", "eos")
    )
    added = [
        {"id": number, **_added(tokens[number], special=special)}
        for number, special in _marked(header, len(tokens)).items()
    ]
    model = {
        "type": "BPE",
        "vocab": {token: number for number, token in enumerate(tokens)},
        "merges": _merges(header),
        "ignore_merges": name in _WHOLE_WORDS,
    }
    return _json(
        {
            "version": "1.0",
            "added_tokens": added,
            "normalizer": {"type": "NFC"} if name in _COMPOSED else None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": PRE_TOKENIZERS[name]},
            "post_processor": _around(bos, eos, tokens),
            "decoder": _byte_level(use_regex=True),
            "model": model,
        }
    )


def tokenizer_model(header: Header) -> bytes:
    """Return the SentencePiece model that the pieces came from (sentencepiece_model.proto)."""
    tokens = _tokens(header)
    scores = header.array("tokenizer.ggml.scores", float, len(tokens))
    kinds = _kinds(header, len(tokens))
    pieces = b"".join(
        _field(
            1,
            _field(1, token.encode()) + struct.pack("<Bf", 2 << 3 | 5, score) + _field(3, kind),
        )
        for token, score, kind in zip(tokens, scores, kinds, strict=True)
    )
    bpe = _field(3, 2) + _field(35, int(BYTE in kinds))
    prefix = header.get("tokenizer.ggml.add_space_prefix", bool, True)
    return pieces + _field(2, bpe) + _field(3, _field(3, int(prefix)))


#: The kinds of tokenizers that are read, and the files that they are made into.
TOKENIZERS: Mapping[str, Mapping[str, Callable[[Header], bytes]]] = {
    "gpt2": {"tokenizer.json": tokenizer_json},
    "llama": {"tokenizer.model": tokenizer_model},
}

#: The named special tokens, and the keys of their numbers.
_NAMES = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
}


def _tokens(header: Header) -> list[str]:
    tokens = header.array("tokenizer.ggml.tokens", str)
    if len(set(tokens)) < len(tokens):
        twice = next(token for token, count in Counter(tokens).items() if count > 1)
        raise CheckpointError(f"{header.file}: the vocabulary has the token {twice!r} twice")
    return tokens


def _named(header: Header, tokens: list[str], name: str) -> str | None:
    """Return the special token called `name`, or None where the file names none."""
    key = f"tokenizer.ggml.{_NAMES[name]}"
    if key not in header.metadata:
        return None
    number = header.need(key, int)
    if not 0 <= number < len(tokens):
        raise CheckpointError(
            f"{header.file}: {key!r} is {number}, outside the vocabulary of {len(tokens)}"
        )
    return tokens[number]


def _marked(header: Header, count: int) -> dict[int, bool]:
    """Return the numbers of the tokens that no text is split across, and which are special."""
    if _TYPES not in header.metadata:
        return {}
    marked = (CONTROL, USER_DEFINED)
    kinds = enumerate(_kinds(header, count))
    return {number: kind == CONTROL for number, kind in kinds if kind in marked}


def _kinds(header: Header, count: int) -> list[int]:
    kinds = header.array(_TYPES, int, count)
    if not {*kinds} <= {*range(BYTE + 1)}:
        raise CheckpointError(f"{header.file}: {_TYPES!r} has numbers outside of 0 to {BYTE}")
    return kinds


def _added(token: str, *, special: bool) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"content": token, **flags, "special": special}


def _frames(header: Header, name: str) -> bool:
    """Whether a text gets its first or last token; where a file is silent, what llama.cpp does."""
    pieces = tokenizer_kind(header) == "llama"
    usual = name == "add_bos_token" and (pieces or _pre_tokenizer(header) in _WHOLE_WORDS)
    return header.get(f"tokenizer.ggml.{name}", bool, usual)


def _pre_tokenizer(header: Header) -> str:
    name = header.get("tokenizer.ggml.pre", str, "default")
    if name not in PRE_TOKENIZERS:
        raise CheckpointError(
            f"{header.file}: splits texts as {name!r}; {', '.join(PRE_TOKENIZERS)} are known"
        )
    return name


def _merges(header: Header) -> list[list[str]]:
    merges = [merge.split(" ") for merge in header.array("tokenizer.ggml.merges", str)]
    for number, parts in enumerate(merges):
        if len(parts) != 2 or not all(parts):
            raise CheckpointError(
                f"{header.file}: merge {number} is {' '.join(parts)!r}; wanted two tokens"
            )
    return merges


def _around(bos: str | None, eos: str | None, tokens: list[str]) -> dict[str, Any] | None:
    """Return the step that puts special tokens around each text, if there are any."""
    ends = [token for token in (bos, eos) if token is not None]
    if not ends:
        return None

    def around(text: str, kind: int) -> list[dict[str, Any]]:
        parts = [("SpecialToken", bos), ("Sequence", text), ("SpecialToken", eos)]
        return [{what: {"id": each, "type_id": kind}} for what, each in parts if each is not None]

    return {
        "type": "TemplateProcessing",
        "single": around("A", 0),
        "pair": around("A", 0) + around("B", 1),
        "special_tokens": {
            end: {"id": end, "ids": [tokens.index(end)], "tokens": [end]} for end in ends
        },
    }


def _field(number: int, value: int | bytes) -> bytes:
    """Return one field of a protobuf message."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
