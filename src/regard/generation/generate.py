"""The public edge of generation: ids and options in, ids out."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from regard.attention.cache import Cache
from regard.batch import TokenBatch
from regard.errors import nearest, notices
from regard.generation.beam import BeamOptions, Beams
from regard.generation.config import LATER, GenerationConfig
from regard.generation.constrain import Constraint
from regard.generation.contrastive import Contrastive
from regard.generation.decode import Decoding, Record, Search, Tokens
from regard.generation.outputs import GenerateOutput, output
from regard.generation.plan import Own, Plan, make_plan
from regard.generation.ready import Ready, Streamer, check_streamable
from regard.generation.rows import Row
from regard.generation.speculative import Assistant, Checked, Lookup, Speculation
from regard.generation.stopping import Decodes
from regard.models.generative import Generative
from regard.padded import as_mask, check_inputs

Ids = Tensor | Sequence[Sequence[int]]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """What a call gives beside the ids and a configuration.

    Attributes:
        attention_mask: (batch, length) 1 for tokens, 0 for padding, which may be on either side.
            Without it every id counts.
        decoder_input_ids: (batch, length) what an encoder-decoder's texts begin with, or lists.
        decoder_attention_mask: Its mask.
        seed: Where random numbers start: row n draws as a row alone does with ``seed + n``; or one
            number for each row.
        generator: Generators in place of seeds: one for all rows, or one for each.
        past_key_values: A cache to go on from: what it has of a prompt's beginning is not read
            again. It holds the finished rows afterwards.
        logits_processor: Functions ``(input_ids, scores) -> scores``, after all other rules but
            those of sampling. `input_ids` are padded on the left.
        stopping_criteria: Functions ``(input_ids, scores) -> bool``, called with one row after each
            of its tokens; `scores` is None.
        prefix_allowed_tokens_fn: ``(row, input_ids) -> tokens`` that may come.
        tokenizer: Reads the texts in which `stop_strings` are looked for, and those of constraints.
        constraint: What the continuations have to be: a `Json`, `Regex` or `Choice`, or one for
            each prompt. A text that reaches its greatest length is cut, and then is not.
        assistant_model: A smaller model of the same vocabulary, which guesses several tokens that
            are then read at once. Greedy texts stay the same, drawn ones as likely.
        streamer: Gets the prompt and then each token as it comes, of one prompt.
    """

    attention_mask: Tensor | None = None
    decoder_input_ids: Ids | None = None
    decoder_attention_mask: Tensor | None = None
    seed: int | Sequence[int] | None = None
    generator: torch.Generator | Sequence[torch.Generator] | None = None
    past_key_values: Cache | None = None
    logits_processor: Sequence[Callable[..., Any]] | None = None
    stopping_criteria: Sequence[Callable[..., Any]] | None = None
    prefix_allowed_tokens_fn: Callable[..., Iterable[int]] | None = None
    tokenizer: Decodes | None = None
    assistant_model: Generative | None = None
    constraint: Constraint | Sequence[Constraint] | None = None
    streamer: Streamer | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Begun:
    """A call of `generate` before anything is read.

    Attributes:
        config: The configuration, with the call's options.
        request: The options beside it.
        rows: The texts, as many of each prompt as `search` follows.
        search: How they go on.
        source: What an encoder-decoder reads first.
        width: Columns of the prompts.
    """

    config: GenerationConfig
    request: Request
    rows: list[Row]
    search: Search
    source: TokenBatch | None
    width: int


def generate(
    model: Generative,
    input_ids: Ids | None,
    config: GenerationConfig | None,
    options: dict[str, Any],
) -> Tensor | GenerateOutput:
    """Return what ``model.generate`` does; its docstring says what."""
    ready = make_ready(model, input_ids, config, options)
    done, config = ready.run(), ready.config
    sequences = _padded(done, ready.width, config.padding, model.device)
    wanted = ready.decoding.record is not None
    return output(sequences, done, config, ready.decoding) if wanted else sequences


def make_ready(
    model: Generative,
    input_ids: Ids | None,
    config: GenerationConfig | None,
    options: dict[str, Any],
) -> Ready:
    """Return what ``model.generate`` is to decode; the arguments are its own."""
    begun = begin(model, input_ids, config, options)
    streamer = begun.request.streamer
    if streamer is not None:
        check_streamable(begun.rows, begun.search)
    record = Record() if begun.config.return_dict_in_generate else None
    decoding = _decoding(model, begun, record)
    return Ready(decoding, begun.rows, begun.config, begun.width, streamer)


def begin(
    model: Generative,
    input_ids: Ids | None,
    config: GenerationConfig | None,
    options: dict[str, Any],
) -> Begun:
    """Check what a call of `generate` asks for, and return what is to be decoded."""
    config, request = _options(config or model.generation_config, options)
    source, given = None, input_ids
    if model.reads_source:
        source = _sources(model, input_ids, request.attention_mask)
        given = request.decoder_input_ids
    prompts = _begun(config, request, given, source)
    own = request.constraint
    if isinstance(own, Sequence) and len(own) not in (1, len(prompts)):
        raise ValueError(f"{len(own)} constraints were given for {len(prompts)} prompts")
    search = _search(config, request)
    plan = make_plan(config, _vocabulary(model), model.device, _own(request))
    rows = _rows(prompts, _limits(model, config, prompts), plan, search.copies)
    _give_generators(rows, request, model.device)
    if source is not None:
        _give_sources(rows, source, search.copies)
    width = max(given.shape[1] if isinstance(given, Tensor) else 0, *map(len, prompts))
    return Begun(config, request, rows, search, source, width)


def _begun(
    config: GenerationConfig, request: Request, given: Ids | None, source: TokenBatch | None
) -> list[list[int]]:
    """Return what each text begins with."""
    if source is None:
        if request.decoder_input_ids is not None:
            raise ValueError("decoder_input_ids are for models that read a source; give input_ids")
        return _prompts(given, request.attention_mask) or [[_first(config)]]
    count = len(source.layout.lengths)
    prompts = _prompts(given, request.decoder_attention_mask)
    prompts = prompts or [[_start(config)] for _ in range(count)]
    if len(prompts) != count:
        raise ValueError(f"{len(prompts)} texts were begun for {count} sources")
    return prompts


def _options(config: GenerationConfig, options: dict[str, Any]) -> tuple[GenerationConfig, Request]:
    """Return the configuration with its fields among the options, and the rest."""
    own = {field.name for field in dataclasses.fields(Request)}
    fields = {field.name for field in dataclasses.fields(GenerationConfig)} | {*LATER}
    for name in options:
        if name not in own | fields:
            raise TypeError(f"generate has no option {name!r}{nearest(name, sorted(own | fields))}")
    changes = {name: value for name, value in options.items() if name in fields}
    request = Request(**{name: value for name, value in options.items() if name in own})
    return config.replace(**changes), request


def _prompts(ids: Ids | None, mask: Tensor | None) -> list[list[int]]:
    """Return the tokens of each row that a mask does not hide; nothing for no ids.

    Raises:
        ValueError: A row has no tokens.
    """
    if ids is None:
        return []
    if isinstance(ids, Tensor):
        shape, _ = check_inputs(ids, None)
        kept = torch.ones(shape, dtype=torch.bool) if mask is None else as_mask(mask, shape)
        rows = [row[there] for row, there in zip(ids.cpu(), kept.cpu(), strict=True)]
        prompts = [cast("list[int]", row.tolist()) for row in rows]
    elif mask is not None:
        raise ValueError("a list of lists has no padding; leave out its attention_mask")
    else:
        prompts = [[int(token) for token in row] for row in ids]
    for number, prompt in enumerate(prompts):
        if not prompt:
            raise ValueError(
                f"row {number} has no tokens to continue; begin it with the first token of a text"
            )
    if not prompts:
        raise ValueError("there are no rows to continue")
    return prompts


def _sources(model: Generative, ids: Ids | None, mask: Tensor | None) -> TokenBatch:
    if ids is None:
        raise ValueError(f"{type(model).__name__} needs input_ids: the sources to read")
    if isinstance(ids, Tensor):
        batch = model.pack(ids.to(model.device), mask, None, None, None)
    else:
        batch = TokenBatch.from_sequences(ids, device=model.device)
    if 0 in batch.layout.lengths or not batch.layout.lengths:
        row = batch.layout.order[-1] if batch.layout.order else 0
        raise ValueError(f"source {row} has no tokens")
    return batch


def _start(config: GenerationConfig) -> int:
    """Return what an encoder-decoder's text begins with."""
    for token in (config.decoder_start_token_id, config.bos_token_id):
        if token is not None:
            return token
    raise ValueError(
        "the configuration names no decoder_start_token_id, so pass it, or decoder_input_ids; for "
        "models of several languages it is the token of the target language"
    )


def _first(config: GenerationConfig) -> int:
    if config.bos_token_id is None:
        raise ValueError("give input_ids: the configuration names no bos_token_id to begin with")
    return config.bos_token_id


def _limits(
    model: Generative, config: GenerationConfig, prompts: Sequence[Sequence[int]]
) -> list[int]:
    """Return how many tokens each text may have.

    Raises:
        ValueError: A prompt leaves no room for a token.
    """
    context, hard = model.context()
    limits: list[int] = []
    for number, prompt in enumerate(prompts):
        limit = context if config.max_length is None else config.max_length
        if config.max_new_tokens is not None:
            limit = len(prompt) + config.max_new_tokens
        if limit > context and (hard or len(prompt) > context):
            if hard and len(prompt) < context:
                limit = context
            _past_context(number, len(prompt), context, hard=hard)
        if limit < len(prompt) or (limit == len(prompt) and config.max_new_tokens is None):
            what = "max_length" if config.max_length is not None else "the model's context"
            raise ValueError(
                f"row {number} has {len(prompt)} tokens, and {what} allows {limit}; shorten it or "
                "pass max_new_tokens"
            )
        limits.append(limit)
    return limits


def _past_context(number: int, length: int, context: int, *, hard: bool) -> None:
    """Raise for a text that cannot go on, and tell of one that is longer than was trained."""
    if hard and length >= context:
        raise ValueError(
            f"row {number} has {length} tokens and the model reads at most {context}; "
            "keep its last tokens, such as input_ids[:, -n:]"
        )
    if hard:
        notices.warning("row %d ends at %d tokens, the model's context", number, context)
    else:
        notices.warning("row %d is longer than the %d tokens of training", number, context)


def _vocabulary(model: Generative) -> int:
    output = model.get_output_embeddings()
    if output is None:
        raise TypeError(f"{type(model).__name__} scores no words, so it cannot continue a text")
    return output.out_features


def _own(request: Request) -> Own:
    return Own(
        request.logits_processor or (),
        request.stopping_criteria or (),
        request.prefix_allowed_tokens_fn,
        request.tokenizer,
        request.constraint,
    )


def _decoding(model: Generative, begun: Begun, record: Record | None) -> Decoding:
    """Return what decodes, with the sources read."""
    config, search, source = begun.config, begun.search, begun.source
    cache = _cache(model, begun.request, search.copies)
    if source is not None:
        model.remember(source, cache)
    if not isinstance(search, Checked):
        return Decoding(model, cache, search, keep=config.use_cache, record=record)
    vocabulary, assistant = _vocabulary(model), begun.request.assistant_model
    if assistant is None:
        count = config.prompt_lookup_num_tokens or 0
        guesser = Lookup(count, config.max_matching_ngram_size, vocabulary)
        return Speculation(model, cache, search, guesser, record)
    own = (assistant.reads_source, _vocabulary(assistant))
    if own != (model.reads_source, vocabulary):
        raise ValueError(
            "an assistant_model must read what the model reads, a source or none, and have its "
            f"vocabulary; found {own[1]} words for {vocabulary}"
        )
    confidence = config.assistant_confidence_threshold
    adapts = config.num_assistant_tokens_schedule != "constant"
    guesser = Assistant(assistant, config.num_assistant_tokens, confidence, adapts=adapts)
    if source is not None:
        guesser.remember(source, search.copies)
    return Speculation(model, cache, search, guesser, record)


def _search(config: GenerationConfig, request: Request) -> Search:
    search = _plain_search(config)
    if request.assistant_model is None and config.prompt_lookup_num_tokens is None:
        return search
    if not isinstance(search, Tokens) or not config.use_cache:
        raise ValueError(
            "assistant_model and prompt_lookup_num_tokens are for greedy search and sampling over "
            "a cache: leave out num_beams, penalty_alpha and use_cache=False"
        )
    return Checked(search.copies)


def _plain_search(config: GenerationConfig) -> Search:
    if config.num_beams > 1:
        return Beams(BeamOptions.of(config))
    if config.penalty_alpha and config.top_k > 1 and not config.do_sample:
        return Contrastive(config.top_k, config.penalty_alpha)
    return Tokens(config.num_return_sequences)


def _rows(
    prompts: Sequence[list[int]], limits: Sequence[int], plan: Plan, copies: int
) -> list[Row]:
    return [
        Row(number * copies + copy, [*prompt], len(prompt), limit, plan)
        for number, (prompt, limit) in enumerate(zip(prompts, limits, strict=True))
        for copy in range(copies)
    ]


def _give_sources(rows: Sequence[Row], source: TokenBatch, copies: int) -> None:
    """Tell rows the tokens of their sources, for rules that look at them."""
    if source.ids is None:
        return
    flat, start = cast("list[int]", source.ids.tolist()), 0
    for number, length in zip(source.layout.order, source.layout.lengths, strict=True):
        for row in rows[number * copies : (number + 1) * copies]:
            row.source = flat[start : start + length]
        start += length


def _give_generators(rows: Sequence[Row], request: Request, device: torch.device) -> None:
    """Give each row what its random numbers come from."""
    given = request.generator
    if given is None and request.seed is None:
        return
    if given is not None and request.seed is not None:
        raise ValueError("give a seed or a generator, and not both")
    if given is None:
        seeds = request.seed
        if isinstance(seeds, int):
            seeds = [seeds + row.number for row in rows]
        given = [torch.Generator().manual_seed(seed) for seed in seeds or ()]
    each = [given] * len(rows) if isinstance(given, torch.Generator) else [*given]
    if len(each) != len(rows):
        raise ValueError(f"{len(rows)} rows need as many seeds or generators; found {len(each)}")
    for row, generator in zip(rows, each, strict=True):
        row.generator = generator


def _cache(model: Generative, request: Request, copies: int) -> Cache:
    given = request.past_key_values
    if given is None:
        return model.new_cache()
    if model.reads_source or copies > 1:
        raise ValueError(
            "past_key_values is for prompts of a decoder that are continued once: leave it out "
            "with num_beams, num_return_sequences, and encoder-decoders"
        )
    return given


def _padded(rows: Sequence[Row], width: int, padding: int, device: torch.device) -> Tensor:
    """Return prompts so that they end at column `width`, and what follows them."""
    longest = max(len(row.new) for row in rows)
    filled = [
        [padding] * (width - row.prompt) + row.ids + [padding] * (longest - len(row.new))
        for row in rows
    ]
    return torch.tensor(filled, device=device)
