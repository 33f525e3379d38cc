"""Answers to questions, found in a text."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np

from regard.batch import TokenBatch
from regard.models.auto import AutoModelForQuestionAnswering
from regard.models.heads import QuestionAnswering
from regard.pipelines.job import Job, check_pair, per_sequence
from regard.pipelines.pipeline import Pipeline, head_of
from regard.pipelines.reading import Cut, Reader, shortened
from regard.pipelines.tags import runs
from regard.pipelines.token_classification import trimmed

_NAMES = ("question", "context")

Asked = tuple[str, str]


class QuestionAnsweringPipeline(Pipeline):
    """Finds the part of a context that answers a question.

    Args:
        model: A model with a head that scores where an answer starts and ends.
        tokenizer: The model's tokenizer.
        options: As for `Pipeline`.
    """

    task: ClassVar[str] = "question-answering"
    default_model: ClassVar[str | None] = None
    auto = AutoModelForQuestionAnswering

    def __call__(
        self,
        inputs: Mapping[str, str] | tuple[str, str] | Iterable[Any] | None = None,
        *,
        question: str | Iterable[str] | None = None,
        context: str | Iterable[str] | None = None,
        top_k: int = 1,
        doc_stride: int | None = None,
        max_seq_len: int | None = None,
        max_question_len: int | None = None,
        max_answer_len: int = 15,
        handle_impossible_answer: bool = False,
        null_threshold: float = 0.0,
        align_to_words: bool = True,
    ) -> Any:
        """Return ``{"score", "start", "end", "answer"}`` for each question.

        ``start`` and ``end`` are characters: ``context[start:end]`` is the answer.

        Args:
            inputs: ``{"question": ..., "context": ...}`` or a tuple of the two, a list of them, or
                a stream; in place of the next two.
            question: A question, or many; one is asked of each of many contexts.
            context: A text of any length, or many; all questions may be about one.
            top_k: How many answers; more than 1 come as a list, the best first.
            doc_stride: Tokens that neighbouring windows of a long context share.
            max_seq_len: Tokens of a window, question included; no more than the model takes.
            max_question_len: Tokens of a question at most. Nothing is cut: a longer one is an
                error, and so is one that leaves too little room for the context.
            max_answer_len: Tokens of an answer at most.
            handle_impossible_answer: Whether the answer may be none: the empty text from 0 to 0.
            null_threshold: It is none where that is more likely than the best answer by more than
                this, as the difference of their logits (Devlin et al. 2019, section 4.3).
            align_to_words: Whether answers are of whole words. The score of one is then the sum
                over the token spans that are in it and reach from its first word to its last.
        """
        job = self.job(
            top_k,
            doc_stride,
            max_seq_len,
            max_question_len,
            max_answer_len,
            null_threshold if handle_impossible_answer else None,
            align_to_words,
        )
        return self.answer(_asked(inputs, question, context), job)

    def job(
        self,
        top_k: int = 1,
        doc_stride: int | None = None,
        max_seq_len: int | None = None,
        max_question_len: int | None = None,
        max_answer_len: int = 15,
        null_threshold: float | None = None,
        align_to_words: bool = True,
    ) -> "Answering":
        """Return what answers questions; arguments as for a call, and no threshold for no null."""
        for name, value in (("top_k", top_k), ("max_answer_len", max_answer_len)):
            if value < 1:
                raise ValueError(f"{name} is {value}; wanted at least 1")
        return Answering(
            reader=self.reader(max_seq_len, doc_stride),
            head=cast("QuestionAnswering", head_of(self.model, QuestionAnswering, self.task)),
            top_k=top_k,
            longest_question=max_question_len,
            longest=max_answer_len,
            null_threshold=null_threshold,
            whole_words=align_to_words,
        )


@dataclass(frozen=True, kw_only=True)
class Answering(Job[Asked]):
    """Answers to questions; see `QuestionAnsweringPipeline`."""

    reader: Reader
    head: QuestionAnswering
    top_k: int
    longest_question: int | None
    longest: int
    null_threshold: float | None
    whole_words: bool

    def check(self, item: Any) -> Asked:
        """Return question and context."""
        pair = check_pair(item, _NAMES)
        for name, text in zip(_NAMES, pair, strict=True):
            if not text.strip():
                raise ValueError(f"the {name} is empty")
        return pair

    def cut(self, inputs: Sequence[Asked]) -> Sequence[Cut | ValueError]:
        """Return windows that have the whole question."""
        cuts = self.reader.pairs(inputs, offsets=True)
        return [self._checked(*each) for each in zip(inputs, cuts, strict=True)]

    def forward(self, batch: TokenBatch) -> Sequence[Any]:
        """Return the logits (tokens, 2) of each window: of starts and of ends."""
        return per_sequence(self.head.logits(batch), batch.layout)

    def answer(self, given: Asked, cut: Cut, found: Sequence[Any]) -> Any:
        """Return the best answer, or the best ones."""
        context, encoding = given[1], cut.encoding
        owners = _word_numbers(encoding.word_ids) if self.whole_words else range(len(encoding))
        scores, nothing = self._scores(cut, np.array(owners), found)
        firsts = {word: token for token, word in reversed([*enumerate(owners)])}
        lasts = {word: token for token, word in enumerate(owners)}
        offsets = encoding.offsets
        answers: list[tuple[float, dict[str, Any]]] = []
        for word, further in _best(scores, self.top_k):
            start = trimmed(context, *offsets[firsts[word]])[0]
            end = trimmed(context, *offsets[lasts[word + further]])[1]
            score = float(scores[word, further])
            answers.append((score, _answer(score, start, end, context)))
        if self.null_threshold is not None:
            answers.append((nothing * np.exp(-self.null_threshold), _answer(nothing, 0, 0, "")))
        ranked = [each for _, each in sorted(answers, key=lambda pair: -pair[0])][: self.top_k]
        return ranked[0] if self.top_k == 1 else ranked

    def _checked(self, asked: Asked, cut: Cut | ValueError) -> Cut | ValueError:
        if isinstance(cut, ValueError):
            return cut
        if not len(cut.encoding):
            return ValueError(f"the context {shortened(asked[1])} has no tokens")
        frame = self.reader.pair
        length = cut.windows[0].first - len(frame.before) - len(frame.between)
        if self.longest_question is not None and length > self.longest_question:
            return ValueError(
                f"the question {shortened(asked[0])} has {length} tokens; wanted at most "
                f"max_question_len={self.longest_question}"
            )
        return cut

    def _scores(self, cut: Cut, owners: Any, found: Sequence[Any]) -> tuple[Any, float]:
        """Return the probability of each answer (first word, further words), and of none.

        Windows are compared by one softmax over the starts in all of them and one over the ends: a
        token that several have counts once, as the one that finds it likeliest does; and no answer
        counts once, as the window has it that is least for it, since the others may lack the
        answer. Of one window it is the product of two softmaxes that is usual in the field.
        """
        parts = [
            rows[window.first : window.first + window.end - window.start].astype(np.float64)
            for window, rows in zip(cut.windows, found, strict=True)
        ]
        nulls = [
            rows[self._null_place(window.ids)].astype(np.float64)
            for window, rows in zip(cut.windows, found, strict=True)
        ]
        null = min(nulls, key=sum)
        likeliest = np.full((len(owners), 2), -np.inf)
        for window, logits in zip(cut.windows, parts, strict=True):
            here = likeliest[window.start : window.end]
            np.maximum(here, logits, out=here)
        total = np.logaddexp.reduce(np.vstack([likeliest, null]), axis=0)
        longest = min(self.longest, max(map(len, parts)))
        scores = np.zeros((owners[-1] + 1, longest))
        for window, logits in zip(cut.windows, parts, strict=True):
            words = owners[window.start : window.end]
            here = scores[words[0] : words[-1] + 1]
            of_window = _spans(np.exp(logits - total), words - words[0], longest)
            np.maximum(here, of_window, out=here)
        return scores, float(np.exp((null - total).sum()))

    def _null_place(self, ids: list[int]) -> int:
        """Return where a window says that there is no answer: at its first special token."""
        special = self.reader.tokenizer.cls_token_id
        return ids.index(special) if special in ids else 0


def _asked(inputs: Any, question: Any, context: Any) -> Any:
    """Return one input, or many, of what a call was given.

    Raises:
        ValueError: It is not as a call takes it.
    """
    if (inputs is None) == (question is None and context is None):
        raise ValueError(
            'wanted either question= and context=, or {"question": ..., "context": ...}'
        )
    if inputs is not None:
        return inputs
    if question is None or context is None:
        raise ValueError(f"{'question' if question is None else 'context'} is missing")
    if isinstance(question, str) and isinstance(context, str):
        return question, context
    both = [
        itertools.repeat(each) if isinstance(each, str) else each for each in (question, context)
    ]
    many = [each for each in (question, context) if not isinstance(each, str)]
    if not all(isinstance(each, Sized) for each in many):
        return zip(*both, strict=len(many) == 2)
    if len({*map(len, many)}) > 1:
        raise ValueError(f"there are {len(question)} questions and {len(context)} contexts")
    return [*zip(*both, strict=len(many) == 2)]


def _word_numbers(word_ids: Sequence[int | None]) -> list[int]:
    """Return for each token the number of its word, from 0 and without gaps."""
    return [number for number, (a, b) in enumerate(runs(word_ids)) for _ in range(a, b)]


def _spans(probabilities: Any, words: Any, longest: int) -> Any:
    """Return the probability of each answer (first word, further words).

    Args:
        probabilities: (tokens, 2) of starts and of ends.
        words: (tokens,) the word of each.
        longest: Tokens of an answer at most.
    """
    starts, ends = probabilities.T
    found = np.zeros((words[-1] + 1, longest))
    for further in range(min(longest, len(words))):
        first = slice(len(words) - further)
        places = words[first], words[further:] - words[first]
        np.add.at(found, places, starts[first] * ends[further:])
    return found


def _best(scores: Any, count: int) -> Iterator[tuple[int, int]]:
    """Yield (first word, further words) of the best answers, the best first."""
    flat = scores.ravel()
    order = [flat.argmax()] if count == 1 else np.argsort(-flat, kind="stable")[:count]
    for number, place in enumerate(order):
        if number == 0 or flat[place] > 0:  # what is no span of any window has nothing
            yield divmod(int(place), scores.shape[1])


def _answer(score: float, start: int, end: int, context: str) -> dict[str, Any]:
    return {"score": score, "start": start, "end": end, "answer": context[start:end]}
