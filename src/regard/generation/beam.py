"""Beam search: several texts per prompt are followed at once, and the best of them go on.

Graves 2012 (section 4) and Sutskever et al. 2014 (section 3.2). With several groups the beams of a
group avoid the tokens that groups before it took at the same step (Vijayakumar et al. 2018, section
4). Ended texts are ranked by log-probability over a power of their length (Wu et al. 2016, 7).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, cast

import torch
from torch import Tensor

from regard.generation.config import GenerationConfig
from regard.generation.decode import Record, Seen, likeliest
from regard.generation.rows import Row
from regard.generation.rules import apply
from regard.generation.stopping import reason
from regard.native.best import best
from regard.native.calls import usable

#: The log-probability of what is as good as impossible, yet a number.
HOPELESS = -1e9
#: Words of a row up to which its best ones are found in one pass.
_FEW = 64


@dataclass(frozen=True)
class BeamOptions:
    """How beams are followed.

    Attributes:
        beams: How many for each prompt.
        groups: How many groups they are in.
        diversity: What a token costs for each beam of a group before that took it.
        length_penalty: Power of the length that a log-probability is divided by.
        early_stopping: When a group is done, see `GenerationConfig`.
        sample: Whether the texts that go on are drawn.
        returned: How many texts of each prompt are wanted.
    """

    beams: int
    groups: int = 1
    diversity: float = 0.0
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    sample: bool = False
    returned: int = 1

    @classmethod
    def of(cls, config: GenerationConfig) -> "BeamOptions":
        """Return those of a configuration."""
        return cls(
            config.num_beams,
            config.num_beam_groups,
            config.diversity_penalty,
            config.length_penalty,
            config.early_stopping,
            config.do_sample,
            config.num_return_sequences,
        )


@dataclass(eq=False)
class _Group:
    """The beams of one prompt that are ranked together, and the best texts that have ended."""

    ended: list[Row] = field(default_factory=list[Row])
    done: bool = False


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A text with one token more."""

    parent: int
    token: int
    score: float
    row: Row


class Beams:
    """Follows the beams of each prompt, which are neighbouring rows.

    Args:
        options: How they are followed.
    """

    shared = True

    def __init__(self, options: BeamOptions) -> None:
        self.options = options
        self.copies = options.beams
        self.groups: dict[tuple[int, int], _Group] = {}

    def advance(
        self, rows: list[Row], seen: Seen, record: Record | None
    ) -> tuple[Tensor, list[int] | None]:
        """Let the best texts of each group go on with a token each."""
        logits = seen.logits
        plan, beams = rows[0].plan, self.options.beams
        for place, row in enumerate(rows):
            if len(row.ids) == row.prompt and place % (beams // self.options.groups):
                row.score = HOPELESS  # all beams of a group are still the same text
        if record is None and not plan.rules and self._narrows(logits, rows):
            sums = _narrowed(logits, rows, self._kept(rows[:beams]))
        else:
            scores = apply(plan.rules, logits.log_softmax(-1), rows, plan.padding)
            likeliest(scores, rows, after_rules=bool(plan.rules))
            if record is not None:
                record.scores.append(([row.number for row in rows], scores))
            sums = _Sums(scores + _so_far(rows, scores)[:, None])
        chosen = [
            self._advance_prompt(rows[first : first + beams], sums.part(first, beams))
            for first in range(0, len(rows), beams)
        ]
        origin = [
            number * beams + candidate.parent
            for number, candidates in enumerate(chosen)
            for candidate in candidates
        ]
        tokens = [candidate.token for candidates in chosen for candidate in candidates]
        rows[:] = [candidate.row for candidates in chosen for candidate in candidates]
        return torch.tensor(tokens, device=logits.device), origin

    def _narrows(self, logits: Tensor, rows: Sequence[Row]) -> bool:
        """Whether the best words of each row are all that is asked of the scores."""
        alone = self.options.groups == 1 and not self.options.sample
        few = self._kept(rows[: self.options.beams]) <= min(_FEW, logits.shape[1])
        return alone and few and usable(logits) and logits.dtype == torch.float32

    def _kept(self, rows: Sequence[Row]) -> int:
        """Return how many texts with one token more are looked at: enough that some go on."""
        return max(2, 1 + len(rows[0].plan.ends)) * len(rows)

    def results(self, rows: Sequence[Row]) -> list[Row]:
        """Return the best ended texts of each prompt, whose rows have all ended."""
        prompts = sorted({row.number // self.options.beams for row in rows})
        best: list[Row] = []
        for prompt in prompts:
            groups = (self.groups[prompt, group] for group in range(self.options.groups))
            ended = sorted((row for each in groups for row in each.ended), key=lambda r: -r.score)
            first = prompt * self.options.returned
            returned = ended[: self.options.returned]
            best += [replace(row, number=first + rank) for rank, row in enumerate(returned)]
        return best

    def _advance_prompt(self, rows: Sequence[Row], sums: "_Sums") -> list[_Candidate]:
        """Return what each beam of one prompt becomes, and mark all when the prompt is done."""
        prompt, size = rows[0].number // self.options.beams, len(rows) // self.options.groups
        taken, running = Counter[int](), list[_Candidate]()
        done = True
        for number in range(self.options.groups):
            first = number * size
            group = self.groups.setdefault((prompt, number), _Group())
            scores = self._less_taken(sums.part(first, size), taken)
            going = self._advance_group(group, rows[first : first + size], scores, first)
            taken.update(candidate.token for candidate in going)
            running += going
            done = done and group.done
        for place, candidate in enumerate(running):
            candidate.row.number = rows[place].number
            candidate.row.ended = "beams" if done else ""
        return running

    def _less_taken(self, sums: "_Sums", taken: Counter[int]) -> "_Sums":
        """Return scores less what tokens cost that other groups took at this step."""
        if not taken or not self.options.diversity:
            return sums
        values = sums.values.clone()
        counts = torch.tensor([*taken.values()], device=values.device, dtype=values.dtype)
        values[:, [*taken]] -= self.options.diversity * counts
        return _Sums(values)

    def _advance_group(
        self, group: _Group, rows: Sequence[Row], sums: "_Sums", first: int
    ) -> list[_Candidate]:
        """Return the beams with which one group goes on; its ended texts are kept apart."""
        size, options = len(rows), self.options
        candidates = self._candidates(rows, sums, first)
        stopped = [candidate.row.ended for candidate in candidates]
        if not group.done:
            for candidate in candidates[:size]:
                if candidate.row.ended:
                    length = len(candidate.row.new)
                    score = candidate.score / length**options.length_penalty
                    group.ended.append(replace(candidate.row, score=score))
            group.ended = sorted(group.ended, key=lambda row: -row.score)[:size]
        for candidate in candidates:
            # What has ended goes on only where there is nothing else, without hope.
            candidate.row.score = candidate.score + (HOPELESS if candidate.row.ended else 0.0)
        # By topk and not by sorting, which would order equals otherwise than the reference does.
        ranks = torch.tensor([candidate.row.score for candidate in candidates])
        best = cast("list[int]", ranks.topk(size).indices.tolist())
        running = [candidates[place] for place in best]
        full = len(group.ended) == size
        group.done = (
            group.done
            or all(stopped)
            or (full and options.early_stopping is True)
            or (full and not self._can_improve(group, running[0].row))
        )
        return running

    def _can_improve(self, group: _Group, best: Row) -> bool:
        """Whether the best running text could be better than the worst that has ended."""
        power = self.options.length_penalty
        length = len(best.new)
        if self.options.early_stopping == "never" and power > 0.0:
            length = best.limit - best.prompt
        return best.score / length**power > group.ended[-1].score

    def _candidates(self, rows: Sequence[Row], sums: "_Sums", first: int) -> list[_Candidate]:
        """Return the best texts with one token more, or drawn ones; enough that some go on."""
        keep, flat = self._kept(rows), sums.values.flatten()
        if self.options.sample:
            places = _drawn(flat, min(keep, len(flat)), rows[0].generator)
        else:
            places = flat.topk(min(keep, len(flat))).indices
        found: list[_Candidate] = []
        values = cast("list[float]", flat[places].tolist())
        for place, score in zip(cast("list[int]", places.tolist()), values, strict=True):
            beam, token = sums.of(place)
            row = replace(rows[beam], ids=[*rows[beam].ids, token], ended="")
            row.ended = reason(row, row.plan.stops)
            found.append(_Candidate(first + beam, token, score, row))
        return found


class _Sums(NamedTuple):
    """The log-probabilities of texts with one token more.

    Attributes:
        values: (rows, words), or (rows, some) of the best words of each row.
        words: Which words these are, if not all.
    """

    values: Tensor
    words: Tensor | None = None

    def part(self, first: int, count: int) -> "_Sums":
        """Return those of some neighbouring rows."""
        words = None if self.words is None else self.words[first : first + count]
        return _Sums(self.values[first : first + count], words)

    def of(self, place: int) -> tuple[int, int]:
        """Return the row and the word of a place among all values."""
        row, column = divmod(place, self.values.shape[1])
        return row, column if self.words is None else int(self.words[row, column])


def _narrowed(logits: Tensor, rows: Sequence[Row], count: int) -> _Sums:
    """Return the sums of each row's best words, without writing down those of all others."""
    values, words, totals = best(logits.contiguous(), count)
    scores = values - totals
    likeliest(scores, rows, after_rules=False)
    return _Sums(scores + _so_far(rows, scores)[:, None], words)


def _so_far(rows: Sequence[Row], like: Tensor) -> Tensor:
    return torch.tensor([row.score for row in rows], device=like.device)


def _drawn(scores: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """Return `count` places drawn without replacement by the softmax of scores, in that order.

    The best of scores with Gumbel noise are such a draw (Kool et al. 2019, section 2.2).
    """
    device = scores.device if generator is None else generator.device
    noise = torch.rand(len(scores), generator=generator, device=device, dtype=torch.float64)
    gumbel = -(-(1 - noise).log()).log()
    return (scores.double() + gumbel.to(scores.device)).topk(count).indices
