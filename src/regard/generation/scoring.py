"""Scoring: how likely a model finds texts, and which of several continuations it prefers.

Texts are packed, so no time goes to padding, and words are scored only where a token is asked for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import exp
from typing import cast

import torch
from torch import Tensor

from regard.attention.cache import Cache
from regard.batch import TokenBatch
from regard.errors import ConfigError
from regard.generation.decode import read_texts
from regard.models.generative import Generative

#: Tokens that are read in one forward, and tokens whose words are scored at once.
BATCH_TOKENS, SCORED_TOKENS = 4096, 512


@dataclass(frozen=True, eq=False)
class LogLikelihood:
    """How likely texts are.

    Attributes:
        tokens: For each text the log-probability, in nats, of each of its tokens but those that
            were given, (counted tokens,).
    """

    tokens: tuple[Tensor, ...]

    @property
    def sums(self) -> Tensor:
        """Log-probability of each text, (texts,)."""
        return torch.stack([each.double().sum() for each in self.tokens])

    @property
    def counts(self) -> Tensor:
        """How many tokens of each text were counted, (texts,)."""
        return torch.tensor([len(each) for each in self.tokens])

    @property
    def perplexity(self) -> float:
        """The exponential of minus the mean over all tokens of all texts."""
        return exp(-float(self.sums.sum()) / max(int(self.counts.sum()), 1))


@dataclass(frozen=True)
class _Part:
    """Tokens of a text that are read together, of which those from `given` on are counted."""

    text: int
    ids: Sequence[int]
    given: int


@torch.inference_mode()
def log_likelihood(
    model: Generative,
    texts: Sequence[Sequence[int]],
    *,
    given: int | Sequence[int] = 1,
    sources: Sequence[Sequence[int]] | None = None,
    stride: int | None = None,
) -> LogLikelihood:
    """Return how likely a model finds texts, each token after those before it.

    Args:
        model: Scores words.
        texts: Token ids of each text; those of an encoder-decoder begin with the token that its
            decoder starts with.
        given: How many first tokens are not counted, of all texts or of each; at least the first
            one, which nothing precedes.
        sources: Of an encoder-decoder, what it reads for each text.
        stride: Texts that are longer than the model's context are read in windows that go on by so
            many tokens; each token is counted once. None makes such a text an error.

    Raises:
        ValueError: A text that is empty, too long, or has a token outside the vocabulary; sources
            that are missing or too many.
    """
    counted = [given] * len(texts) if isinstance(given, int) else [*given]
    _check(model, texts, counted, sources)
    if stride is not None and stride < 1:
        raise ValueError(f"stride is {stride}; it must be at least 1")
    context, hard = model.context()
    parts: list[_Part] = []
    for number, (ids, first) in enumerate(zip(texts, counted, strict=True)):
        if stride is None and hard and len(ids) - 1 > context:
            raise ValueError(
                f"text {number} has {len(ids)} tokens and the model reads at most {context}; cut "
                "it, or pass a stride"
            )
        size = context if stride is not None else len(ids)
        parts += _windows(number, ids, first, size, stride or size)
    found: list[list[Tensor]] = [[] for _ in texts]
    for batch in _batches(parts):
        cache = model.new_cache()
        if sources is not None:
            model.remember(_pack(model, [sources[part.text] for part in batch]), cache)
        scored = _score(model, cache, [part.ids for part in batch], [p.given for p in batch])
        for part, values in zip(batch, scored, strict=True):
            found[part.text].append(values)
    return LogLikelihood(tuple(torch.cat(each) for each in found))


def perplexity(
    model: Generative,
    texts: Sequence[Sequence[int]],
    *,
    given: int | Sequence[int] = 1,
    sources: Sequence[Sequence[int]] | None = None,
    stride: int | None = None,
) -> float:
    """Return the perplexity of texts: as if all tokens were one text's; see `log_likelihood`."""
    scores = log_likelihood(model, texts, given=given, sources=sources, stride=stride)
    return scores.perplexity


@torch.inference_mode()
def rank_choices(
    model: Generative,
    prompt: Sequence[int],
    choices: Sequence[Sequence[int]],
    *,
    per_token: bool = False,
    source: Sequence[int] | None = None,
) -> list[tuple[int, float]]:
    """Return the numbers of continuations and their log-probabilities, the likeliest first.

    The prompt is read once.

    Args:
        model: Scores words.
        prompt: Token ids that all continue; of an encoder-decoder what its decoder starts with.
        choices: Token ids of each continuation.
        per_token: Divide by the number of tokens, so that long ones are not worse for being long.
        source: Of an encoder-decoder, what it reads.

    Raises:
        ValueError: There are no choices, or as for `log_likelihood`.
    """
    if not choices or not all(map(len, choices)):
        raise ValueError("give choices, each of at least one token")
    texts = [[*prompt, *choice] for choice in choices]
    sources = None if source is None else [source] * len(texts)
    _check(model, texts, [len(prompt)] * len(texts), sources)
    context, hard = model.context()
    longest = max(map(len, texts))
    if hard and longest - 1 > context:
        raise ValueError(f"prompt and choice have {longest} tokens; the model reads {context}")
    cache = model.new_cache()
    if source is not None:
        model.remember(_pack(model, [source]), cache)
    head = len(prompt) - 1
    if head:
        read_texts(model, cache, [prompt[:-1]])
    else:
        cache.layout([0])
    cache.expand(len(choices), share=False)
    tails = [text[head:] for text in texts]
    scores = LogLikelihood(tuple(_score(model, cache, tails, [1] * len(tails))))
    values = scores.sums / scores.counts if per_token else scores.sums
    order = cast("list[int]", values.argsort(descending=True, stable=True).tolist())
    return [(number, float(values[number])) for number in order]


def _score(
    model: Generative, cache: Cache, texts: Sequence[Sequence[int]], given: Sequence[int]
) -> list[Tensor]:
    """Return the log-probabilities of the tokens from `given` on, texts going on from `cache`."""
    hidden, layout = read_texts(model, cache, [ids[:-1] for ids in texts])
    starts = cast("list[int]", layout.offsets[:-1].long()[layout.rows].tolist())
    # The vector before a token says how likely it is.
    pairs = list(zip(texts, given, strict=True))
    places = [
        start + place - 1
        for start, (ids, first) in zip(starts, pairs, strict=True)
        for place in range(first, len(ids))
    ]
    wanted = torch.tensor([t for ids, first in pairs for t in ids[first:]], device=hidden.device)
    vectors = hidden[torch.tensor(places, dtype=torch.int64, device=hidden.device)]
    values = [
        _chosen(model.score(vectors[at : at + SCORED_TOKENS]), wanted[at : at + SCORED_TOKENS])
        for at in range(0, len(wanted), SCORED_TOKENS)
    ]
    return [*torch.cat(values).split([len(ids) - first for ids, first in pairs])]


def _chosen(scores: Tensor, words: Tensor) -> Tensor:
    """Return the log-probability of one word for each row of scores."""
    scores = scores if scores.dtype == torch.float64 else scores.float()
    return scores.log_softmax(-1).gather(1, words.long()[:, None])[:, 0]


def _windows(
    number: int, ids: Sequence[int], given: int, size: int, stride: int
) -> Iterator[_Part]:
    """Cut a text into parts whose counted tokens are all from `given` on, each once."""
    stride = min(stride, size)
    first = size + 1 if given <= size else given + stride  # the last token is only asked for
    end = min(len(ids), first)
    while True:
        start = max(end - size - 1, 0)
        yield _Part(number, ids[start:end], given - start)
        if end == len(ids):
            break
        given, end = max(given, end), min(end + stride, len(ids))


def _batches(parts: Sequence[_Part]) -> Iterator[list[_Part]]:
    """Put parts together, neighbours as they come, so that each text's stay in order."""
    batch: list[_Part] = []
    for part in parts:
        if batch and sum(len(each.ids) for each in batch) + len(part.ids) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(part)
    if batch:
        yield batch


def _pack(model: Generative, texts: Sequence[Sequence[int]]) -> TokenBatch:
    return TokenBatch.from_sequences(texts, device=model.device)


def _check(
    model: Generative,
    texts: Sequence[Sequence[int]],
    given: Sequence[int],
    sources: Sequence[Sequence[int]] | None,
) -> None:
    """Raise for texts and sources that cannot be scored."""
    output = model.get_output_embeddings()
    if output is None:
        raise ConfigError(f"{type(model).__name__} scores no words")
    if model.reads_source != (sources is not None):
        needed = "needs" if model.reads_source else "reads no"
        raise ValueError(f"{type(model).__name__} {needed} sources")
    if sources is not None and len(sources) != len(texts):
        raise ValueError(f"{len(sources)} sources were given for {len(texts)} texts")
    if len(given) != len(texts):
        raise ValueError(f"given has {len(given)} numbers for {len(texts)} texts")
    for number, (ids, first) in enumerate(zip(texts, given, strict=True)):
        if not 1 <= first < len(ids):
            raise ValueError(
                f"text {number} has {len(ids)} tokens, of which {first} are given; it needs one "
                "that is given, such as the first token of all texts, and one that is counted"
            )
        wrong = next((t for t in ids if not 0 <= t < output.out_features), None)
        if wrong is not None:
            last = output.out_features - 1
            raise ValueError(f"text {number} has token {wrong}, which is outside 0 to {last}")
