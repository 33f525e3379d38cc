"""Words for the gaps of a text."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch

from regard.batch import TokenBatch
from regard.models.auto import AutoModelForMaskedLM
from regard.models.heads import MaskedLM
from regard.pipelines.job import TextJob, as_numpy, per_sequence
from regard.pipelines.pipeline import Pipeline, head_of
from regard.pipelines.reading import Cut, Window, shortened
from regard.text.tokenizer import Tokenizer


class FillMaskPipeline(Pipeline):
    """Finds the words that fit where a text has a mask.

    Args:
        model: A model with a head that scores words.
        tokenizer: The model's tokenizer.
        options: As for `Pipeline`.
    """

    task: ClassVar[str] = "fill-mask"
    default_model: ClassVar[str | None] = None
    auto = AutoModelForMaskedLM

    def __call__(
        self,
        inputs: str | Iterable[str],
        top_k: int = 5,
        targets: str | int | Sequence[str | int] | None = None,
    ) -> Any:
        """Return for each text ``{"score", "token", "token_str", "sequence"}``, the best first.

        A text with several masks gives one such list for each. They are scored each by itself,
        with all others still masked, so words that fit alone may not fit together.

        Args:
            inputs: A text of any length, a list, or a stream of texts.
            top_k: How many words of each mask.
            targets: The words to choose among, or their ids. The scores are those among all words.

        Raises:
            ValueError: A target is no single token, or a text has no mask.
        """
        return self.answer(inputs, self.job(top_k, targets))

    def job(
        self, top_k: int = 5, targets: str | int | Sequence[str | int] | None = None
    ) -> "Filling":
        """Return what fills gaps; arguments as for a call."""
        if top_k < 1:
            raise ValueError(f"top_k is {top_k}; wanted at least 1")
        mask = self.tokenizer.mask_token_id
        if mask is None:
            raise ValueError("the tokenizer has no mask token, so nothing marks a gap")
        chosen = None if targets is None else _read_targets(targets, self.tokenizer)
        return Filling(
            self.reader(),
            head=cast("MaskedLM", head_of(self.model, MaskedLM, self.task)),
            mask=mask,
            top_k=top_k,
            targets=chosen,
        )


@dataclass(frozen=True, kw_only=True)
class Filling(TextJob):
    """Words for masks; see `FillMaskPipeline`."""

    head: MaskedLM
    mask: int
    top_k: int
    targets: tuple[int, ...] | None

    def cut(self, inputs: Sequence[str]) -> Sequence[Cut | ValueError]:
        """Return of each text the whole, or where that is too long a window around each mask."""
        tokenizer = self.reader.tokenizer
        encodings = tokenizer.encode_batch(inputs, special=False, offsets=False)
        return [
            Cut(encoding, tuple(self._windows(encoding.ids)))
            if self.mask in encoding.ids
            else ValueError(f"{shortened(text)} has no mask; write {tokenizer.mask_token} at a gap")
            for text, encoding in zip(inputs, encodings, strict=True)
        ]

    def forward(self, batch: TokenBatch) -> Sequence[Any]:
        """Return for each window a list of each mask's best (scores, tokens)."""
        gaps = cast("torch.Tensor", batch.ids) == self.mask
        scores = self.head.score(self.head.hidden(batch)[gaps]).float().softmax(-1)
        if self.targets is not None:
            scores = scores[:, list(self.targets)]
        best, tokens = map(as_numpy, scores.topk(min(self.top_k, scores.shape[1])))
        if self.targets is not None:
            tokens = np.array(self.targets)[tokens]
        numbers = torch.where(gaps, gaps.cumsum(0) - 1, -1)
        return [
            [(best[i], tokens[i]) for i in of_window[of_window >= 0]]
            for of_window in per_sequence(numbers, batch.layout)
        ]

    def answer(self, given: str, cut: Cut, found: Sequence[Any]) -> list[Any]:
        """Return the words for the mask, or a list of them for each mask."""
        ids = cut.encoding.ids
        whole, first = self.reader.single.around(ids)[0], cut.windows[0].first
        places = [place for place, token in enumerate(ids) if token == self.mask]
        answers: list[list[dict[str, Any]]] = []
        for number, place in enumerate(places):
            window = min(number, len(found) - 1)
            before = ids[cut.windows[window].start : place].count(self.mask)
            filled = [*whole]
            row: list[dict[str, Any]] = []
            for score, token in zip(*found[window][before], strict=True):
                filled[first + place] = int(token)
                row.append(self._filled(float(score), int(token), filled, alone=len(places) == 1))
            answers.append(row)
        return answers[0] if len(places) == 1 else answers

    def _windows(self, ids: list[int]) -> Iterator[Window]:
        room, first = (
            self.reader.max_length - self.reader.single.size,
            len(self.reader.single.before),
        )
        if len(ids) <= room:
            yield Window(*self.reader.single.around(ids), 0, len(ids), first)
            return
        for place, token in enumerate(ids):
            if token == self.mask:
                start = min(max(place - room // 2, 0), len(ids) - room)
                shown = ids[start : start + room]
                yield Window(*self.reader.single.around(shown), start, start + room, first)

    def _filled(self, score: float, token: int, ids: list[int], *, alone: bool) -> dict[str, Any]:
        decode = self.reader.tokenizer.decode
        # Without special tokens other masks would be gone too.
        sequence = decode(ids, skip_special_tokens=alone)
        return {"score": score, "token": token, "token_str": decode([token]), "sequence": sequence}


def _read_targets(given: str | int | Sequence[str | int], tokenizer: Tokenizer) -> tuple[int, ...]:
    """Return the ids of words, or raise `ValueError` for one that is no single token."""
    targets = [given] if isinstance(given, str | int) else given
    if not targets:
        raise ValueError("targets is empty; wanted a word or more")
    return (*dict.fromkeys(_read_target(each, tokenizer) for each in targets),)


def _read_target(target: str | int, tokenizer: Tokenizer) -> int:
    if isinstance(target, int):
        if 0 <= target < len(tokenizer):
            return target
        raise ValueError(f"target {target} is the number of no token; there are {len(tokenizer)}")
    known = tokenizer.backend_tokenizer.token_to_id(target)
    if known is not None:
        return known
    ids: list[int] = tokenizer.encode(target, add_special_tokens=False)
    if len(ids) == 1 and ids[0] != tokenizer.unk_token_id:
        return ids[0]
    pieces = ", ".join(map(repr, tokenizer.convert_ids_to_tokens(ids))) or "nothing"
    raise ValueError(f"target {target!r} is no single token of the vocabulary, but {pieces}")
