"""How a translator is told the languages: by a token, by a prefix, or not at all."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, cast

from regard.errors import listing, nearest
from regard.generation.config import GenerationConfig
from regard.models.generative import Generative
from regard.text.families import MarianTokenizer, MBart50Tokenizer, MBartTokenizer
from regard.text.tokenizer import Tokenizer

_FIELDS = frozenset(field.name for field in dataclasses.fields(GenerationConfig))
#: What a text begins with, and how it is decoded.
Settings = tuple[str, dict[str, Any]]


def task_settings(model: Generative, task: str) -> Settings:
    """Return what config.json says under ``task_specific_params`` for a task."""
    own: dict[str, Any] = _tasks(model).get(task) or {}
    usual = {key: value for key, value in own.items() if key in _FIELDS and value is not None}
    return str(own.get("prefix") or ""), usual


def addressed(
    model: Generative, tokenizer: Tokenizer, source: str | None, target: str | None
) -> Settings:
    """Return what tells a translator the languages, as it names them or in two letters.

    mBART reads the language of a source beside it, which is set in `tokenizer`, and begins a
    translation with its own; Marian's multilingual models read that of the translation before the
    text; T5 knows its tasks by their prefixes. What knows one pair only is not told.

    Raises:
        ValueError: The model does not know a language, or is not told the one it needs.
    """
    if isinstance(tokenizer, MBartTokenizer):
        return _by_token(tokenizer, source, target)
    if isinstance(tokenizer, MarianTokenizer):
        codes = {code[2:-2]: code for code in tokenizer.supported_language_codes}
        if target is None or not codes:
            return "", {}
        return f"{codes[_known('tgt_lang', target, codes)]} ", {}
    task = f"translation_{source}_to_{target}"
    pairs = [name for name in _tasks(model) if name.startswith("translation_")]
    if source is None or target is None or not pairs:
        return task_settings(model, "translation")
    if task not in pairs:
        raise ValueError(f"the model has no task {task!r}{nearest(task, pairs)}; {listing(pairs)}")
    return task_settings(model, task)


def _by_token(tokenizer: MBartTokenizer, source: str | None, target: str | None) -> Settings:
    numbers = tokenizer.lang_code_to_id
    if source is not None:
        tokenizer.src_lang = _known("src_lang", source, numbers)
    target = target or tokenizer.tgt_lang
    if target is None:
        raise ValueError("this model translates into several languages; pass tgt_lang")
    number = numbers[_known("tgt_lang", target, numbers)]
    # mBART-50 forces the language after the start token (Tang et al. 2020); before, it was the
    # start itself (Liu et al. 2020).
    name = "forced_bos_token_id" if isinstance(tokenizer, MBart50Tokenizer) else None
    return "", {name or "decoder_start_token_id": number}


def _known(option: str, language: str, codes: Iterable[str]) -> str:
    """Return the model's own code of a language."""
    codes = [*codes]
    found = [code for code in codes if code == language or code.startswith(f"{language}_")]
    if not found:
        raise ValueError(
            f"{option}={language!r} is no language of this model{nearest(language, codes)}; it "
            f"has {listing(codes, 60)}"
        )
    return found[0]


def _tasks(model: Generative) -> Mapping[str, Any]:
    told: Any = model.config.extra.get("task_specific_params")
    return cast("Mapping[str, Any]", told) if isinstance(told, dict) else {}
