"""Texts that an encoder-decoder turns into others; translation is one way to."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, cast

from regard.generation.stream import TextStream
from regard.models.auto import AutoModelForSeq2SeqLM
from regard.models.generative import Generative
from regard.pipelines.generating import GenerationPipeline
from regard.pipelines.job import shaped
from regard.pipelines.languages import addressed, task_settings
from regard.text.tokenizer import Tokenizer


class Text2TextGenerationPipeline(GenerationPipeline):
    """Turns texts into others, as the model was trained to.

    What config.json says under ``task_specific_params`` for the task counts: a prefix, and how to
    decode, where a call does not say otherwise.
    """

    task: ClassVar[str] = "text2text-generation"
    default_model = None
    auto = AutoModelForSeq2SeqLM
    #: What the text is called in a result.
    key: ClassVar[str] = "generated_text"

    def __init__(self, model: Generative, tokenizer: Tokenizer, **options: Any) -> None:
        super().__init__(model, tokenizer, **options)
        if not model.reads_source:
            raise TypeError(f"{type(model).__name__} reads no source; use text-generation")

    def __call__(
        self, texts: str | Iterable[str], *, truncation: bool = False, **options: Any
    ) -> Any:
        """Return ``[{"generated_text": ...}]`` for a text, and a list of such for a list.

        With several `num_return_sequences` there is a list of them for each text of a list.

        Args:
            texts: One text, a list, or a stream of texts.
            truncation: Whether to cut what is longer than the model can read.
            options: As for ``model.generate``.

        Raises:
            ValueError: A text is too long.
        """
        given = [texts] if isinstance(texts, str) else texts
        found = self._results(given, truncation, options)
        if isinstance(texts, str):
            return next(found)
        return shaped(texts, (each[0] if len(each) == 1 else each for each in found))

    def stream(self, text: str, *, truncation: bool = False, **options: Any) -> TextStream:
        """Return an iterator of the pieces of what one text is turned into."""
        prefix, more = self.settings(options)
        return self.stream_ids(self.source_ids(prefix + text, 0, truncation), more)

    def settings(self, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return what stands before each text, and how to decode, for these options of a call."""
        prefix, usual = task_settings(self.model, self.task)
        return prefix, {**usual, **self.options, **options}

    def source_ids(self, text: str, number: int, truncation: bool) -> list[int]:
        """Return the tokens of a source."""
        length = self.longest() if truncation else None
        cut: dict[str, Any] = {"truncation": True, "max_length": length} if truncation else {}
        ids = cast("list[int]", self.tokenizer(text, **cut)["input_ids"])
        if not ids:
            raise ValueError(f"text {number} is empty")
        self.check_length(ids, number, "cut it with truncation=True, or cut it into parts")
        return ids

    def longest(self) -> int:
        """Return how many tokens a source may have."""
        return min(self.tokenizer.model_max_length, self.model.context()[0])

    def _results(
        self, texts: Iterable[str], truncation: bool, options: Mapping[str, Any]
    ) -> Iterator[list[dict[str, str]]]:
        prefix, more = self.settings(options)

        def ids() -> Iterator[list[int]]:
            for number, text in enumerate(texts):
                if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers give anything
                    raise TypeError(f"text {number} is {type(text).__name__}; wanted a string")
                yield self.source_ids(prefix + text, number, truncation)

        for rows in self.decode(ids(), more):
            yield [{self.key: self.written(row).strip()} for row in rows]


class TranslationPipeline(Text2TextGenerationPipeline):
    """Translates texts.

    Args:
        model: A translator.
        tokenizer: Its tokenizer.
        src_lang: The language of the texts, as the model names it or in two letters; models of
            one pair of languages need none.
        tgt_lang: The language to translate into.
        options: As for `GenerationPipeline`.
    """

    task: ClassVar[str] = "translation"
    key: ClassVar[str] = "translation_text"

    def __init__(
        self,
        model: Generative,
        tokenizer: Tokenizer,
        *,
        src_lang: str | None = None,
        tgt_lang: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model, tokenizer, **options)
        self.src_lang, self.tgt_lang = src_lang, tgt_lang

    @classmethod
    def own_options(cls) -> frozenset[str]:
        """Return the options of `from_pretrained` that are the constructor's."""
        return super().own_options() | {"src_lang", "tgt_lang"}

    @classmethod
    def of_pair(cls, task: str) -> dict[str, str]:
        """Return the languages that a task's name, ``translation_xx_to_yy``, has.

        Raises:
            ValueError: It has another form.
        """
        found = re.fullmatch(r"translation_(\w+?)_to_(\w+)", task)
        if found is None:
            raise ValueError(f"unknown task {task!r}; wanted one such as translation_en_to_fr")
        return {"src_lang": found[1], "tgt_lang": found[2]}

    def settings(self, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return what stands before each text, and how to decode, for these options of a call."""
        given = {**self.options, **options}
        source = given.pop("src_lang", self.src_lang)
        target = given.pop("tgt_lang", self.tgt_lang)
        prefix, usual = addressed(self.model, self.tokenizer, source, target)
        return prefix, {**usual, **given}
