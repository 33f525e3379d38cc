"""Who does what to whom: the predicates of a text, and for each its arguments with their roles."""

import dataclasses
import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from tokenizers import Encoding

from regard.batch import TokenBatch
from regard.models.auto import AutoConfig, AutoModelForTokenClassification
from regard.models.heads import TokenClassification
from regard.models.model import PreTrainedModel
from regard.models.multitask import MultiTaskModel, task_configs
from regard.models.tasks import NOTHING, PREDICATE, has_segments, trained_for
from regard.pipelines.job import Failure, Job, is_one, per_sequence, shaped
from regard.pipelines.pipeline import Pipeline, head_of
from regard.pipelines.reading import SHARED, Cut, Reader, Window, shortened, spans
from regard.pipelines.sentences import Sentences, read_sentences
from regard.pipelines.tags import Word, split_label
from regard.pipelines.tags import spans as joined
from regard.pipelines.token_classification import token_scores
from regard.text.tokenizer import Tokenizer

#: What heads are called that find predicates, and that label roles.
FINDER, ROLES = "predicates", "roles"
#: Labels that are no argument.
_NONE = frozenset({NOTHING, PREDICATE, "O"})


class SemanticRoleLabelingPipeline(Pipeline):
    """Finds predicates, and labels the arguments of each: one pass of the model per predicate.

    Args:
        model: A model of several tasks, of which one labels roles (trained for this task, or called
            ``roles``) and one finds predicates (trained for predicate-identification, or called
            ``predicates``); or a token classifier of roles, which has to be told the predicates.
            As in training, it sees one sentence, with the predicate's tokens as the second segment;
            one without segments gets the predicate's word as a second text.
        tokenizer: The model's tokenizer.
        options: As for `Pipeline`.
    """

    task: ClassVar[str] = "semantic-role-labeling"
    default_model: ClassVar[str | None] = None
    takes = PreTrainedModel

    def __init__(self, model: PreTrainedModel, tokenizer: Tokenizer, **options: Any) -> None:
        super().__init__(model, tokenizer, **options)
        finder, roles = None, model
        if isinstance(model, MultiTaskModel):
            names = heads_of_roles(model)
            finder = None if names[0] is None else model.head(names[0])
            roles = model.head(names[1] or ROLES)
        self.roles = cast("TokenClassification", head_of(roles, TokenClassification, self.task))
        self.finder = cast("TokenClassification | None", finder)

    @classmethod
    def load_model(
        cls, name: str | Path, source: Mapping[str, Any], options: dict[str, Any]
    ) -> PreTrainedModel:
        """Return a model of several tasks, or a token classifier."""
        several = task_configs(AutoConfig.from_pretrained(name, **source))
        kind = MultiTaskModel if several else AutoModelForTokenClassification
        return kind.from_pretrained(name, **options)

    def __call__(
        self,
        inputs: str | Sequence[str] | Mapping[str, Any] | Iterable[Any],
        predicates: Iterable[Any] | None = None,
    ) -> Any:
        """Return for each text a list of its predicates, in order.

        Each is ``{"predicate": {"word", "start", "end"}, "arguments": [{"role", "word", "start",
        "end", "score"}]}``; a predicate that the model found has a ``"score"`` too. ``start`` and
        ``end`` are characters of the text; that of words is the words with a space between two.

        Args:
            inputs: A text of any length, or ``{"text": ..., "predicates": [...]}``; or the words of
                one sentence, a tuple or ``{"words": [...]}``. Or many: a list, where lists of
                words may stand too, or a stream.
            predicates: Those of the text, or a list of them for each text: numbers of words from 0,
                or (start, end) characters. None lets the model find them.
        """
        items: Any = [inputs] if is_one(inputs) else inputs
        if predicates is not None:
            items = _paired(items, [predicates] if is_one(inputs) else predicates)
        reader = self.reader()
        found = self.run(items, Finding(reader=reader, head=self.finder))
        return shaped(inputs, self.run(found, RoleLabelling(reader=reader, head=self.roles)))


@dataclass(frozen=True, kw_only=True)
class Finding(Job[Sentences]):
    """The predicates of texts that do not come with them.

    Args:
        reader: Cuts sentences that are too long into windows.
        head: Labels predicates; None: they have to be given.
    """

    reader: Reader
    head: TokenClassification | None

    def check(self, item: Any) -> Sentences:
        """Return a text as its words."""
        read = read_sentences(item)
        if read.predicates is None and self.head is None:
            raise ValueError(
                "this model labels roles and does not find predicates: give predicates=..., or a "
                f"model of several tasks that has a head {FINDER!r} too"
            )
        return read

    def cut(self, inputs: Sequence[Sentences]) -> Sequence[Cut | ValueError]:
        """Return a window or more for each sentence, if predicates are to be found in it."""
        words = [[each.text[a:b] for a, b in each.words] for each in inputs]
        tokenizer = self.reader.tokenizer
        encodings = tokenizer.encode_batch(words, special=False, words=True)
        return [
            Cut(encoding, () if each.predicates is not None else self._windows(each, encoding))
            for each, encoding in zip(inputs, encodings, strict=True)
        ]

    def forward(self, batch: TokenBatch) -> Sequence[Any]:
        """Return the logits (tokens, labels) of each window."""
        return per_sequence(cast("TokenClassification", self.head).logits(batch), batch.layout)

    def answer(self, given: Sentences, cut: Cut, found: Sequence[Any]) -> Sentences:
        """Return the text with its predicates."""
        known = dataclasses.replace(given, encoding=cut.encoding)
        if given.predicates is not None:
            return known
        if not found:
            return dataclasses.replace(known, predicates=[], scores=[])
        names: Mapping[int, str] = cast("TokenClassification", self.head).config.id2label or {}
        marks = np.array([split_label(names[n])[1] == PREDICATE for n in range(len(names))])
        scores = token_scores(cut, found)
        sure = {
            word: float(scores[token][marks].sum())
            for word, token in sorted(given.firsts(cut.encoding).items())
            if marks[scores[token].argmax()]
        }
        return dataclasses.replace(known, predicates=[*sure], scores=[*sure.values()])

    def _windows(self, given: Sentences, encoding: Encoding) -> tuple[Window, ...]:
        frame = self.reader.single
        room = self.reader.max_length - frame.size
        ids, owners = encoding.ids, cast("list[int]", encoding.word_ids)
        ends = [bisect_left(owners, word) for word in given.ends]
        return tuple(
            Window(
                *frame.around(ids[start + a : start + b]), start + a, start + b, len(frame.before)
            )
            for start, end in zip([0, *ends], ends, strict=False)
            for a, b in spans(end - start, room, self.reader.stride)
        )


@dataclass(frozen=True)
class RoleCut(Cut):
    """A text with windows for each of its predicates.

    Attributes:
        counts: How many windows each predicate has.
    """

    counts: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RoleLabelling(Job[Sentences]):
    """The arguments of predicates.

    Args:
        reader: Has the frames of texts and pairs.
        head: Labels roles.
    """

    reader: Reader
    head: TokenClassification

    def check(self, item: Any) -> Sentences:
        """Return a text with its predicates, or raise why there is none."""
        if isinstance(item, Failure):
            raise ValueError(item.error)
        return item

    def cut(self, inputs: Sequence[Sentences]) -> Sequence[Cut | ValueError]:
        """Return for each predicate a window, or more, of its sentence."""
        marks = has_segments(self.head.config)
        return [self._cut(each, marks=marks) for each in inputs]

    def forward(self, batch: TokenBatch) -> Sequence[Any]:
        """Return the logits (tokens, labels) of each window."""
        return per_sequence(self.head.logits(batch), batch.layout)

    def answer(self, given: Sentences, cut: Cut, found: Sequence[Any]) -> list[dict[str, Any]]:
        """Return the predicates with their arguments."""
        firsts = given.firsts(cut.encoding)
        windows, logits = iter(cut.windows), iter(found)
        answers: list[dict[str, Any]] = []
        for number, place in enumerate(given.predicates or []):
            count = cast("RoleCut", cut).counts[number]
            part = Cut(cut.encoding, (*itertools.islice(windows, count),))
            scores = token_scores(part, [*itertools.islice(logits, count)])
            start, end = given.words[place]
            predicate: dict[str, Any] = {"word": given.text[start:end], "start": start, "end": end}
            if given.scores is not None:
                predicate["score"] = given.scores[number]
            labelled = self._words(given, place, scores, firsts)
            answers.append({"predicate": predicate, "arguments": _arguments(given.text, labelled)})
        return answers

    def _cut(self, given: Sentences, *, marks: bool) -> RoleCut | ValueError:
        encoding = cast("Encoding", given.encoding)
        # Lists that the Rust encoding makes anew each time it is asked.
        ids, owners = encoding.ids, cast("list[int]", encoding.word_ids)
        windows: list[list[Window]] = []
        for word in given.predicates or []:
            first, last = (bisect_left(owners, each) for each in given.sentence(word))
            own = range(bisect_left(owners, word), bisect_right(owners, word))
            longest = self.reader.max_length
            if not marks and longest - self.reader.pair.size - len(own) < longest // SHARED:
                start, end = given.words[word]
                return ValueError(
                    f"the predicate {shortened(given.text[start:end])} has {len(own)} tokens and "
                    f"leaves too little room for its sentence in windows of {longest}"
                )
            made = self._marked if marks else self._named
            windows.append([*made(ids, range(first, last), own)])
        return RoleCut(encoding, (*itertools.chain(*windows),), (*map(len, windows),))

    def _marked(self, ids: list[int], sentence: range, predicate: range) -> Iterator[Window]:
        """Yield windows of a sentence in which the tokens of the predicate are another segment."""
        frame = self.reader.single
        before, room = len(frame.before), self.reader.max_length - frame.size
        for a, b in spans(len(sentence), room, self.reader.stride):
            tokens = sentence[a:b]
            shown, _ = frame.around(ids[tokens.start : tokens.stop])
            inside = [int(token in predicate) for token in tokens]
            segments = [0] * before + inside + [0] * len(frame.between)
            yield Window(shown, segments, tokens.start, tokens.stop, before)

    def _named(self, ids: list[int], sentence: range, predicate: range) -> Iterator[Window]:
        """Yield windows of a sentence with the predicate as a second text."""
        frame, second = self.reader.pair, ids[predicate.start : predicate.stop]
        room = self.reader.max_length - frame.size - len(second)
        for a, b in spans(len(sentence), room, min(self.reader.stride, room // 2)):
            tokens = sentence[a:b]
            shown = frame.around(ids[tokens.start : tokens.stop], second)
            yield Window(*shown, tokens.start, tokens.stop, len(frame.before))

    def _words(
        self, given: Sentences, predicate: int, scores: Any, firsts: Mapping[int, int]
    ) -> Iterator[Word]:
        names: Mapping[int, str] = self.head.config.id2label or {}
        sentence = range(*given.sentence(predicate))
        begin = next((firsts[word] for word in sentence if word in firsts), 0)
        for word in sentence:
            if word in firsts:
                of_word = scores[firsts[word] - begin]
                best = int(of_word.argmax())
                # Roles without prefix stand on head words, so that neighbours are two arguments.
                label = names[best] if split_label(names[best])[0] else f"S-{names[best]}"
                yield Word(label, float(of_word[best]), *given.words[word])


def heads_of_roles(model: MultiTaskModel) -> tuple[str | None, str | None]:
    """Return the names of the head that finds predicates, and of that which labels roles."""
    configs = {name: model.head(name).config for name in model.tasks}
    return (
        trained_for(configs, "predicate-identification", FINDER),
        trained_for(configs, SemanticRoleLabelingPipeline.task, ROLES),
    )


def _paired(items: Iterable[Any], predicates: Iterable[Any]) -> Iterable[Any]:
    """Return texts with their predicates."""
    if isinstance(items, Sized) and isinstance(predicates, Sized) and len(items) != len(predicates):
        raise ValueError(
            f"predicates are of {len(predicates)} texts; there are {len(items)}. Wanted a list of "
            "them for each text"
        )
    return (_with(*each) for each in zip(items, predicates, strict=True))


def _with(item: Any, predicates: Any) -> Any:
    if isinstance(item, Mapping):
        return {**cast("Mapping[str, Any]", item), "predicates": predicates}
    return {"text" if isinstance(item, str) else "words": item, "predicates": predicates}


def _arguments(text: str, labelled: Iterable[Word]) -> list[dict[str, Any]]:
    return [
        {
            "role": span.label,
            "word": text[span.start : span.end],
            "start": span.start,
            "end": span.end,
            "score": span.score,
        }
        for span in joined(labelled)
        if span.label not in _NONE
    ]
