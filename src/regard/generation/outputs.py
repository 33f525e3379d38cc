"""What `generate` returns when it is asked for more than ids."""

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from regard.attention.cache import Cache
from regard.generation.config import GenerationConfig
from regard.generation.decode import Decoding
from regard.generation.rows import Row
from regard.outputs import ModelOutput


class GenerateOutput(ModelOutput):
    """What was decoded.

    Attributes:
        sequences: (rows, length) ids: prompt and continuation, filled with the padding token.
        sequences_scores: (rows,) log-probability of each continuation, of a beam search, divided
            by the power of its length.
        scores: For each step (rows, vocabulary), after all rules; minus infinity for a row that has
            ended. The rows of a beam search are its beams.
        logits: The same before all rules.
        guessed_tokens: (rows,) in speculative decoding, how many tokens were guessed.
        accepted_tokens: (rows,) how many of these guesses were right.
        past_key_values: What was read; give it to a call whose prompts begin like these.
    """

    sequences: Tensor
    sequences_scores: Tensor | None = None
    scores: tuple[Tensor, ...] | None = None
    logits: tuple[Tensor, ...] | None = None
    guessed_tokens: Tensor | None = None
    accepted_tokens: Tensor | None = None
    past_key_values: Cache | None = None


def output(
    sequences: Tensor, rows: Sequence[Row], config: GenerationConfig, decoding: Decoding
) -> GenerateOutput:
    """Return the ids of `rows` with what else was asked for."""
    count = len(rows) // max(config.num_return_sequences, 1) * decoding.search.copies
    ranks = torch.tensor([row.score for row in rows]) if config.num_beams > 1 else None
    record, guesses = decoding.record, any(row.guessed for row in rows)
    return GenerateOutput(
        sequences=sequences,
        sequences_scores=ranks,
        scores=_steps(record.scores, count) if record and config.output_scores else None,
        logits=_steps(record.logits, count) if record and config.output_logits else None,
        guessed_tokens=torch.tensor([row.guessed for row in rows]) if guesses else None,
        accepted_tokens=torch.tensor([row.accepted for row in rows]) if guesses else None,
        past_key_values=decoding.cache,
    )


def _steps(steps: Sequence[tuple[list[int], Tensor]], count: int) -> tuple[Tensor, ...]:
    """Return the scores of each row's n-th token, minus infinity for those that have ended."""
    whole: list[Tensor] = []
    given = Counter[int]()
    for numbers, scores in steps:
        for place in sorted({given[number] for number in numbers}):
            if place == len(whole):
                whole.append(scores.new_full((count, scores.shape[1]), -torch.inf))
            rows = [n for n, number in enumerate(numbers) if given[number] == place]
            whole[place][[numbers[n] for n in rows]] = scores[rows]
        given.update(numbers)
    return tuple(whole)
