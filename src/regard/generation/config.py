"""`GenerationConfig`: how texts are decoded, with the names that the field has for it."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, get_type_hints

from regard.checkpoints.files import find_checkpoint, source_options
from regard.checkpoints.write import write_text
from regard.config import Config, check_value
from regard.errors import ConfigError, nearest

GENERATION_FILE = "generation_config.json"

#: The field's options that are not built; only the values that ask for nothing are accepted.
LATER = (
    *("assistant_early_exit", "assistant_ensemble_weight", "assistant_lookbehind", "cache_config"),
    *("cache_implementation", "compile_config", "constraints", "continuous_batching_config"),
    *("dola_layers", "force_words_ids", "guidance_scale", "is_assistant", "low_memory"),
    *("max_cache_len", "output_attentions", "output_hidden_states", "prefill_chunk_size"),
    *("speculation_type", "target_lookbehind", "token_healing", "top_h", "use_mtp"),
    "watermarking_config",
)
#: What a file may hold of them that changes no text.
HARMLESS = (
    *("assistant_lookbehind", "cache_config", "cache_implementation", "compile_config"),
    *("continuous_batching_config", "is_assistant", "target_lookbehind"),
)
#: What options may say that know a few words;
WORDS: Mapping[str, tuple[Any, ...]] = {
    "early_stopping": (True, False, "never"),
    "num_assistant_tokens_schedule": ("constant", "heuristic", "heuristic_transient"),
}
#: Bounds of numbers, both included.
BOUNDS: Mapping[str, tuple[float, float]] = {
    "max_length": (1, 1e9),
    "max_new_tokens": (0, 1e9),
    "min_length": (0, 1e9),
    "min_new_tokens": (0, 1e9),
    "max_time": (0, 1e9),
    "num_beams": (1, 1000),
    "num_beam_groups": (1, 1000),
    "num_return_sequences": (1, 100_000),
    "temperature": (1e-6, 1e6),
    "top_k": (0, 1e9),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "typical_p": (1e-6, 1),
    "epsilon_cutoff": (0, 1),
    "eta_cutoff": (0, 1),
    "penalty_alpha": (0, 1),
    "repetition_penalty": (1e-6, 1e6),
    "encoder_repetition_penalty": (1e-6, 1e6),
    "no_repeat_ngram_size": (0, 1e6),
    "encoder_no_repeat_ngram_size": (0, 1e6),
    "diversity_penalty": (0, 1e6),
    "prompt_lookup_num_tokens": (1, 1e6),
    "max_matching_ngram_size": (1, 1e6),
    "num_assistant_tokens": (1, 1e6),
    "assistant_confidence_threshold": (0, 1),
}


@dataclasses.dataclass(init=False, eq=False, repr=False)
class GenerationConfig:
    """How texts are decoded. Fields are keyword arguments, and options of ``model.generate``.

    Without a length, until the end token or the end of the model's context.

    Attributes:
        max_length: Tokens of prompt and continuation together; `max_new_tokens` goes first.
        max_new_tokens: Tokens of the continuation.
        min_length: Tokens of both before which the end token is forbidden.
        min_new_tokens: Tokens of the continuation before which it is.
        max_time: Seconds after which no further token is begun.
        stop_strings: Texts that end a continuation, which keeps them; they need a ``tokenizer``.
        do_sample: Draw tokens; else the best is taken.
        num_beams: Texts that are followed at once.
        num_beam_groups: Groups of beams that avoid each other's tokens (Vijayakumar et al. 2018).
        diversity_penalty: What a token costs for each group before that took it.
        length_penalty: Power of the length that a text's log-probability is divided by.
        early_stopping: Whether a beam search ends as soon as it has `num_beams` ended texts; False
            ends it when the best running beam is worse than these at its length, ``"never"`` when
            it would be so at the best of lengths.
        penalty_alpha: Weight of what a token's vector repeats, with `top_k` (Su et al. 2022).
        use_cache: Keep what was read; False reads everything again for each token.
        temperature: Divides the scores that are drawn from.
        top_k: Draw from so many tokens, 0 from all; 50 unless said otherwise, as in the field.
        top_p: Draw from the fewest tokens that have this probability (Holtzman et al. 2020).
        min_p: Draw from tokens that have this part of the best one's probability.
        typical_p: Draw from the most typical tokens of this probability (Meister et al. 2023).
        epsilon_cutoff: Draw from tokens of at least this probability (Hewitt et al. 2022).
        eta_cutoff: The same, and less where all is improbable (Hewitt et al. 2022).
        repetition_penalty: Divides scores of tokens that are there (Keskar et al. 2019).
        encoder_repetition_penalty: Multiplies those of tokens that the source has.
        no_repeat_ngram_size: Length of the runs of tokens that may not come twice.
        encoder_no_repeat_ngram_size: Length of those of the source that may not come.
        bad_words_ids: Runs of tokens that may not come.
        sequence_bias: What is added to the score of the last token of a run: ``[[ids, bias], ...]``
            or a dict with tuples.
        suppress_tokens: Tokens that may not come.
        begin_suppress_tokens: Tokens that may not come first.
        forced_bos_token_id: The first token after a single token (a decoder's start).
        forced_eos_token_id: The token that ends a text of the greatest length.
        exponential_decay_length_penalty: ``(start, factor)``: the end token's score grows so after
            `start` tokens of the continuation.
        renormalize_logits: Make scores log-probabilities again after all rules.
        remove_invalid_values: Replace scores that are no numbers, in place of an error.
        prompt_lookup_num_tokens: Tokens that are guessed at once, from what followed the same
            tokens in prompt or source (Saxena 2023); the text stays what it is without.
        max_matching_ngram_size: How many tokens such a guess looks for.
        num_assistant_tokens: Tokens that an ``assistant_model`` guesses at once.
        num_assistant_tokens_schedule: ``"constant"``, or ``"heuristic"``: two tokens more after
            guesses that all were right, and one less after others. Every call starts anew, so
            ``"heuristic_transient"`` is the same here.
        assistant_confidence_threshold: It stops after a guess of less than this probability.
        num_return_sequences: Continuations of each prompt.
        return_dict_in_generate: Return a `GenerateOutput`.
        output_scores: With it, the scores of each step after all rules.
        output_logits: With it, those before.
        pad_token_id: What fills rows; by default the end token.
        bos_token_id: The prompt when there is none.
        eos_token_id: What ends a text: a token or several.
        decoder_start_token_id: What an encoder-decoder's text begins with.
    """

    max_length: int | None = None
    max_new_tokens: int | None = None
    min_length: int = 0
    min_new_tokens: int | None = None
    max_time: float | None = None
    stop_strings: str | list[str] | None = None
    do_sample: bool = False
    num_beams: int = 1
    num_beam_groups: int = 1
    diversity_penalty: float = 0.0
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    penalty_alpha: float | None = None
    use_cache: bool = True
    temperature: float = 1.0
    top_k: int = 50
    top_p: float = 1.0
    min_p: float | None = None
    typical_p: float = 1.0
    epsilon_cutoff: float = 0.0
    eta_cutoff: float = 0.0
    repetition_penalty: float = 1.0
    encoder_repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    encoder_no_repeat_ngram_size: int = 0
    bad_words_ids: list[list[int]] | None = None
    sequence_bias: dict[Any, Any] | list[Any] | None = None
    suppress_tokens: list[int] | None = None
    begin_suppress_tokens: list[int] | None = None
    forced_bos_token_id: int | None = None
    forced_eos_token_id: int | list[int] | None = None
    exponential_decay_length_penalty: list[Any] | tuple[Any, ...] | None = None
    renormalize_logits: bool = False
    remove_invalid_values: bool = False
    prompt_lookup_num_tokens: int | None = None
    max_matching_ngram_size: int = 2
    num_assistant_tokens: int = 20
    num_assistant_tokens_schedule: str = "constant"
    assistant_confidence_threshold: float = 0.4
    num_return_sequences: int = 1
    return_dict_in_generate: bool = False
    output_scores: bool = False
    output_logits: bool = False
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    decoder_start_token_id: int | None = None

    def __init__(self, **values: Any) -> None:
        usual = {field.name: field.default for field in dataclasses.fields(type(self))}
        self.extra: dict[str, Any] = {}
        for name, value in usual.items():
            given = values.get(name)
            setattr(self, name, value if given is None else given)
        for name, value in values.items():
            if name in LATER and value not in (None, False):
                raise ConfigError(f"{name}={value!r}: generation does not know how to do this yet")
            if name not in usual and name not in LATER:
                raise TypeError(
                    f"generation has no option {name!r}{nearest(name, [*usual, *LATER])}"
                )
        self.check()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from the content of a generation_config.json; unknown keys go to `extra`."""
        known = {field.name for field in dataclasses.fields(cls)} | {*LATER}
        config = cls(**{n: v for n, v in values.items() if n in known and n not in HARMLESS})
        config.extra = {n: v for n, v in values.items() if n not in known or n in HARMLESS}
        return config

    @classmethod
    def from_pretrained(cls, name: str | Path, **options: Any) -> Self:
        """Read generation_config.json of a folder, an embedded package or the Hub.

        `options` are those of `regard.checkpoints.files.find_checkpoint`; any other is a field that
        replaces the file's value.
        """
        source = source_options(options)
        changes = {key: value for key, value in options.items() if key not in source}
        return cls.from_dict(find_checkpoint(name, **source).read_json(GENERATION_FILE)).replace(
            **changes
        )

    @classmethod
    def of_model(cls, config: Config, stored: Mapping[str, Any] | None) -> Self:
        """Return what `stored`, the file's content, says, and of special tokens the `config`.

        Checkpoints from before that file have its fields in config.json.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        said = config.extra if stored is None else stored
        own = vars(config)
        tokens = {name: own[name] for name in known & own.keys() if name.endswith("_token_id")}
        given = {name: value for name, value in said.items() if value is not None}
        if stored is None:
            given = {name: value for name, value in given.items() if name in known}
        return cls.from_dict(tokens | given)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, checked like a new one."""
        values = {name: value for name, value in vars(self).items() if name != "extra"}
        copy = type(self)(**values | changes)
        copy.extra = dict(self.extra)
        return copy

    def save_pretrained(self, folder: str | Path) -> None:
        """Write generation_config.json into `folder`, which is made if missing."""
        text = json.dumps(self.to_dict(), indent=2, sort_keys=True, ensure_ascii=False)
        write_text(Path(folder) / GENERATION_FILE, text + "\n")

    def to_dict(self) -> dict[str, Any]:
        """Return what generation_config.json holds: all that is not a default."""
        fields = dataclasses.fields(type(self))
        own = {f.name: vars(self)[f.name] for f in fields if vars(self)[f.name] != f.default}
        if isinstance(self.sequence_bias, dict):
            own["sequence_bias"] = [[[*ids], bias] for ids, bias in self.sequence_bias.items()]
        return self.extra | own

    def check(self) -> None:
        """Raise `ConfigError` for a value of another type, out of bounds, or at odds."""
        for name, annotation in get_type_hints(type(self)).items():
            check_value(name, vars(self)[name], annotation)
        for name, (low, high) in BOUNDS.items():
            value = vars(self)[name]
            if value is not None and not low <= value <= high:
                raise ConfigError(f"{name} is {value}; it must be from {low:g} to {high:g}")
        for name, words in WORDS.items():
            if vars(self)[name] not in words:
                known = ", ".join(map(repr, words))
                raise ConfigError(f"{name} is {vars(self)[name]!r}; it must be one of {known}")
        if self.num_beams % self.num_beam_groups:
            raise ConfigError(
                f"num_beam_groups ({self.num_beam_groups}) must divide num_beams ({self.num_beams})"
            )
        wanted = self.num_return_sequences
        if wanted > 1 and not self.do_sample and wanted > self.num_beams:
            raise ConfigError(
                f"num_return_sequences is {wanted}, but without do_sample there are only as many "
                f"texts as num_beams ({self.num_beams})"
            )
        if self.num_beams > 1 and wanted > self.num_beams:
            raise ConfigError(
                f"num_return_sequences ({wanted}) is more than num_beams ({self.num_beams})"
            )

    @property
    def ends(self) -> tuple[int, ...]:
        """The end tokens."""
        if self.eos_token_id is None:
            return ()
        if isinstance(self.eos_token_id, int):
            return (self.eos_token_id,)
        return tuple(self.eos_token_id)

    @property
    def padding(self) -> int:
        """What fills rows: the padding token, else an end token, else 0."""
        return next((t for t in (self.pad_token_id, *self.ends) if t is not None and t >= 0), 0)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    __hash__ = None  # pyright: ignore[reportAssignmentType] - it can change

    def __repr__(self) -> str:
        return f"{type(self).__name__} {json.dumps(self.to_dict(), sort_keys=True)}"
