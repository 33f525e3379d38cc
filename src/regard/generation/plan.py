"""`Plan`: the rules and stops of a configuration, in the order in which they count."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from regard.generation import rules, sampling
from regard.generation.config import GenerationConfig
from regard.generation.constrain import Constraint, follow
from regard.generation.rules import Rule, check_tokens
from regard.generation.stopping import Criterion, Decodes, EndToken, Length, Stop, Strings, Time


@dataclass(frozen=True, eq=False)
class Plan:
    """How the next token of a row is chosen, and when the row has ended.

    Attributes:
        rules: Applied to the scores, in this order.
        stops: Asked after each token.
        sample: Whether tokens are drawn.
        padding: What fills rows where callers' own functions see them.
        ends: The end tokens.
    """

    rules: tuple[Rule, ...] = ()
    stops: tuple[Stop, ...] = (Length(),)
    sample: bool = False
    padding: int = 0
    ends: tuple[int, ...] = ()

    @property
    def way(self) -> tuple[Any, ...]:
        """What the choice of a token depends on: rows of equal ways are chosen for at once."""
        return self.rules, self.sample, self.padding


@dataclass(frozen=True)
class Own:
    """A caller's own functions, and what stops need beside a configuration.

    Attributes:
        processors: Rules, ``(input_ids, scores) -> scores``.
        criteria: Stops, ``(input_ids, scores) -> bool``.
        allowed: ``(row, input_ids) -> tokens`` that may come.
        tokenizer: What reads the texts in which `stop_strings` are looked for.
        constraint: What the continuations have to be, of all or of each prompt.
    """

    processors: Sequence[Callable[..., Any]] = ()
    criteria: Sequence[Callable[..., Any]] = ()
    allowed: Callable[..., Iterable[int]] | None = None
    tokenizer: Decodes | None = None
    constraint: Constraint | Sequence[Constraint] | None = None


def make_plan(
    config: GenerationConfig, vocabulary: int, device: torch.device, own: Own | None = None
) -> Plan:
    """Return what a configuration says.

    Raises:
        ValueError: A token is outside the vocabulary, or `stop_strings` have no tokenizer.
    """
    own = own or Own()
    made = [*_shaping(config, vocabulary), *_forcing(config, vocabulary, own)]
    made += [rules.Custom(function) for function in own.processors]
    if own.constraint is not None:
        made.append(
            follow(
                own.constraint,
                own.tokenizer,
                vocabulary,
                config.ends,
                copies=max(config.num_beams, config.num_return_sequences),
                forced=config.forced_bos_token_id is not None,
            )
        )
    if config.do_sample:
        made += _sampling(config)
    if config.renormalize_logits:
        made.append(rules.Normalised())
    return Plan(
        tuple(made),
        tuple(_stops(config, device, own)),
        config.do_sample,
        config.padding,
        config.ends,
    )


def _shaping(config: GenerationConfig, vocabulary: int) -> Iterable[Rule]:
    """Return the rules that look at what text and source hold."""
    bias = config.sequence_bias
    if bias:
        runs = bias.items() if isinstance(bias, dict) else bias
        yield _bias("sequence_bias", ((tuple(ids), float(by)) for ids, by in runs), vocabulary)
    if config.encoder_repetition_penalty != 1.0:
        yield rules.SourcePenalty(config.encoder_repetition_penalty)
    if config.repetition_penalty != 1.0:
        yield rules.RepetitionPenalty(config.repetition_penalty)
    if config.no_repeat_ngram_size:
        yield rules.NoRepeat(config.no_repeat_ngram_size)
    if config.encoder_no_repeat_ngram_size:
        yield rules.NoCopy(config.encoder_no_repeat_ngram_size)
    if config.bad_words_ids:
        # An end token by itself is no bad word: texts could not end.
        bad = [tuple(ids) for ids in config.bad_words_ids if tuple(ids) not in _alone(config.ends)]
        yield _bias("bad_words_ids", ((ids, rules.FORBIDDEN) for ids in bad), vocabulary)


def _forcing(config: GenerationConfig, vocabulary: int, own: Own) -> Iterable[Rule]:
    """Return the rules that forbid and demand tokens by their place."""
    if config.ends and (config.min_length or config.min_new_tokens):
        yield rules.NotBefore(config.ends, config.min_length, config.min_new_tokens or 0)
    if own.allowed is not None:
        yield rules.Allowed(own.allowed, max(config.num_beams, config.num_return_sequences))
    first, last = config.forced_bos_token_id, config.forced_eos_token_id
    if first is not None:
        yield rules.Forced(_checked("forced_bos_token_id", [first], vocabulary), 1)
    if last is not None and own.constraint is None:  # a text that is cut has no end
        tokens = [last] if isinstance(last, int) else last
        yield rules.Forced(_checked("forced_eos_token_id", tokens, vocabulary))
    if config.remove_invalid_values:
        yield rules.Finite()
    if config.exponential_decay_length_penalty is not None:
        start, factor = config.exponential_decay_length_penalty
        yield rules.Decay(int(start), float(factor), config.ends)
    if config.suppress_tokens:
        yield rules.Never(_checked("suppress_tokens", config.suppress_tokens, vocabulary))
    if config.begin_suppress_tokens:
        tokens = _checked("begin_suppress_tokens", config.begin_suppress_tokens, vocabulary)
        yield rules.NotFirst(tokens, forced=first is not None)


def _sampling(config: GenerationConfig) -> Iterable[Rule]:
    """Return the rules that say what is drawn from."""
    # Beams need a token beside the end tokens to go on with.
    least = 1 if config.num_beams == 1 else (len(config.ends) or 1) + 1
    if config.temperature != 1.0:
        yield sampling.Temperature(config.temperature)
    if config.top_k:
        yield sampling.TopK(config.top_k, least)
    if config.top_p < 1.0:
        yield sampling.TopP(config.top_p, least)
    if config.min_p is not None:
        yield sampling.MinP(config.min_p, least)
    if config.typical_p < 1.0:
        yield sampling.Typical(config.typical_p, least)
    if 0.0 < config.epsilon_cutoff < 1.0:
        yield sampling.Epsilon(config.epsilon_cutoff, least)
    if 0.0 < config.eta_cutoff < 1.0:
        yield sampling.Eta(config.eta_cutoff, least)


def _stops(config: GenerationConfig, device: torch.device, own: Own) -> Iterable[Stop]:
    if config.ends:
        yield EndToken(frozenset(config.ends))
    yield Length()
    if config.max_time is not None:
        yield Time(time.monotonic() + config.max_time)
    if config.stop_strings:
        given = config.stop_strings
        strings = (given,) if isinstance(given, str) else tuple(given)
        if own.tokenizer is None:
            raise ValueError(
                f"stop_strings {strings} are looked for in text; pass tokenizer=... to generate"
            )
        if not all(strings):
            raise ValueError("stop_strings holds an empty text, with which every text ends")
        yield Strings(strings, own.tokenizer)
    for function in own.criteria:
        yield Criterion(function, device)


def _bias(name: str, runs: Iterable[tuple[tuple[int, ...], float]], vocabulary: int) -> rules.Bias:
    found = tuple(runs)
    for ids, _ in found:
        if not ids:
            raise ValueError(f"{name} has a run of no tokens")
        check_tokens(name, ids, vocabulary)
    return rules.Bias(found)


def _checked(name: str, tokens: Sequence[int], vocabulary: int) -> tuple[int, ...]:
    check_tokens(name, tokens, vocabulary)
    return tuple(tokens)


def _alone(tokens: Iterable[int]) -> set[tuple[int, ...]]:
    return {(token,) for token in tokens}
