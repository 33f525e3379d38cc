"""The tokenizer: text in, the inputs of a model out, and back."""

from collections.abc import Sequence
from typing import Any

from tokenizers import Encoding

from regard.errors import notices
from regard.text.batch import assemble, collate, rows_of
from regard.text.chat import ChatTokenizer
from regard.text.encoder import cut_tokens
from regard.text.encoding import BatchEncoding
from regard.text.inputs import Texts, read_texts
from regard.text.options import (
    OPTION_NAMES,
    UNLIMITED,
    CallOptions,
    Truncation,
    check_names,
    check_side,
)
from regard.text.padding import Padding

#: What a text that was cut means to whoever called the tokenizer, and to whoever runs a task.
KEEP_MORE = (
    "to keep more, raise max_length or pass return_overflowing_tokens=True; .truncated has the "
    "figure for each row"
)
LOST = "what comes after does not count, so split long texts"


class Tokenizer(ChatTokenizer):
    """Turns texts into the inputs of a model, and ids into text; any tokenizer.json will do.

    Threads may share one tokenizer, whatever lengths they cut to; it can be pickled and copied.
    """

    def __call__(
        self,
        text: Any = None,
        text_pair: Any = None,
        text_target: Any = None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str | None = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        **unknown: Any,
    ) -> BatchEncoding:
        """Turn texts into the inputs of a model; `CallOptions` explains the options.

        `text` is a text, a batch of texts, or a batch of ``(text, pair)``; with
        ``is_split_into_words`` a list of words stands in place of each text. `text_pair` is the
        second text or texts, in the same form. A text alone gives flat lists, a batch gives lists
        of lists, and tensors always have both dimensions.

        `text_target` is what a translator or summarizer is to write, in the form of `text`; its
        ids become ``labels``, padded as the other columns are. Alone, it gives all columns.

        Raises:
            TypeError: Something is not a string, or an argument does not exist.
            ValueError: The texts cannot be cut or made into tensors as asked.
        """
        given = locals()  # first of all, when it holds the arguments and nothing else
        check_names("the tokenizer's call", unknown, OPTION_NAMES)
        options = CallOptions(**{n: given[n] for n in OPTION_NAMES})
        if text_target is None:
            return self._encode(text, text_pair, options)
        target = self._encode(text_target, None, options, target=True)
        if text is None:
            return target
        found = self._encode(text, text_pair, options)
        if len(found.truncated) != len(target.truncated):
            rows = f"text gives {len(found.truncated)} rows and text_target {len(target.truncated)}"
            raise ValueError(f"{rows}; wanted as many of one as of the other")
        found["labels"] = target["input_ids"]
        return found

    def encode(self, text: Any, text_pair: Any = None, **options: Any) -> Any:
        """Return only the ids; the options are those of a call."""
        return self(text, text_pair, **options)["input_ids"]

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False, **options: Any
    ) -> list[str]:
        """Return the tokens of a text as strings; the options are those of a call."""
        return self(text, pair, add_special_tokens=add_special_tokens, **options).tokens()

    def encode_batch(
        self,
        texts: Sequence[str] | Sequence[Sequence[str]],
        pairs: Sequence[str] | None = None,
        max_length: int | None = None,
        *,
        offsets: bool = True,
        special: bool = True,
        words: bool = False,
    ) -> list[Encoding]:
        """Return the Rust encodings of many texts, in one Rust call and with nothing around it.

        Args:
            texts: The texts.
            pairs: Their second texts, or None.
            max_length: Cut the longest first to this many tokens; None cuts nothing.
            offsets: False is about a fifth faster and leaves the offsets at zero.
            special: Whether to add special tokens.
            words: Whether the texts are lists of words.
        """
        read = read_texts(list(texts), None if pairs is None else list(pairs), words=words)
        truncation = self._truncation(CallOptions(max_length=max_length), read)
        encodings = self._run(read, special=special, truncation=truncation, offsets=offsets)
        if truncation is not None:
            count = sum(bool(each.overflowing) for each in encodings)
            self._tell_cut(count, len(encodings), truncation, LOST)
        return encodings

    def pad(
        self,
        encoded_inputs: Any,
        padding: bool | str | None = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
    ) -> BatchEncoding:
        """Pad examples that were tokenized before, as a data loader needs it.

        Args:
            encoded_inputs: A list of mappings, or a mapping of columns.
            padding: True, ``"longest"``, ``"max_length"`` or False.
            max_length: For ``"max_length"``; the default is ``model_max_length``.
            pad_to_multiple_of: Round the length up to a multiple of this.
            padding_side: ``"right"``, ``"left"``, or None for the tokenizer's own.
            return_attention_mask: Whether to make a mask when there is none.
            return_tensors: ``"pt"``, ``"np"``, or None for what the rows are.
        """
        options = CallOptions(
            padding=padding,
            max_length=max_length if padding == "max_length" else None,
            pad_to_multiple_of=pad_to_multiple_of,
            padding_side=padding_side,
            return_tensors=return_tensors,
        )
        wanted = "attention_mask" in self.model_input_names
        return collate(
            encoded_inputs,
            self.model_input_names[0],
            padding=self._padding(options),
            mask=wanted if return_attention_mask is None else return_attention_mask,
            tensor_type=return_tensors,
        )

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Return how many special tokens a text, or a pair of texts, gets."""
        return self.backend_tokenizer.num_special_tokens_to_add(pair)

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Return ids with the special tokens around and between them."""
        return [number for number, _ in self._framed(token_ids_0, token_ids_1)]

    def get_special_tokens_mask(
        self,
        token_ids_0: list[int],
        token_ids_1: list[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """Return 1 for each special token and 0 for the others.

        Args:
            token_ids_0: The ids.
            token_ids_1: The ids of the pair, when special tokens are still to be added.
            already_has_special_tokens: Whether the ids have their special tokens; else the mask is
                that of `build_inputs_with_special_tokens`.
        """
        if not already_has_special_tokens:
            return [is_special for _, is_special in self._framed(token_ids_0, token_ids_1)]
        if token_ids_1 is not None:
            raise ValueError("ids that have their special tokens are one sequence: no token_ids_1")
        numbers = set(self.all_special_ids)
        return [int(int(number) in numbers) for number in token_ids_0]

    def _framed(self, first: list[int], second: list[int] | None) -> list[tuple[int, int]]:
        """Return (id, is special) for ids in the frame that the tokenizer puts around texts."""
        # The frame is not readable from Rust, but a short text shows it.
        (probe,) = self._run(read_texts("a", None if second is None else "a"))
        framed: list[tuple[int, int]] = []
        placed: set[int] = set()
        for number, owner in zip(probe.ids, probe.sequence_ids, strict=True):
            if owner is None:
                framed.append((number, 1))
            elif owner not in placed:
                placed.add(owner)
                framed += [(int(i), 0) for i in ((second or []) if owner else first)]
        return framed

    def _run(
        self,
        texts: Texts,
        *,
        special: bool = True,
        truncation: Truncation | None = None,
        offsets: bool = True,
        target: bool = False,
    ) -> list[Encoding]:
        """Return the Rust encodings; in some families those of a `target` are other ones."""
        return self._encoder.encode(texts, special=special, truncation=truncation, offsets=offsets)

    def _encode(
        self, text: Any, text_pair: Any, options: CallOptions, *, target: bool = False
    ) -> BatchEncoding:
        name = "text_target" if target else "text"
        texts = read_texts(text, text_pair, words=options.is_split_into_words, name=name)
        truncation, padding = self._truncation(options, texts), self._padding(options)
        special = options.add_special_tokens
        encodings = self._run(texts, special=special, truncation=truncation, target=target)
        if truncation is None:
            cut = [0] * len(encodings)
            self._tell_too_long(max(map(len, encodings), default=0))
        else:
            cut = self._cut(encodings, texts, truncation, special=special, target=target)
        overflowing = options.return_overflowing_tokens
        if truncation is not None and not overflowing:
            self._tell_cut(sum(map(bool, cut)), len(cut), truncation, KEEP_MORE)
        rows = rows_of(encodings, cut, overflowing=overflowing)
        names = self._names(options)
        return assemble(rows, names, options, padding=padding, batched=texts.batched)

    def _names(self, options: CallOptions) -> list[str]:
        """Return the token columns that a call asks for."""
        asked = {
            "input_ids": True,
            "token_type_ids": options.return_token_type_ids,
            "attention_mask": options.return_attention_mask,
            "special_tokens_mask": options.return_special_tokens_mask,
            "offset_mapping": options.return_offsets_mapping,
        }
        default = self.model_input_names
        return [n for n, ask in asked.items() if (n in default if ask is None else ask)]

    def _truncation(self, options: CallOptions, texts: Texts) -> Truncation | None:
        """Return how to cut, or None; refuse what would leave no room for text."""
        strategy = options.truncation_strategy
        if strategy is None:
            return None
        length = self.model_max_length if options.max_length is None else options.max_length
        if length > UNLIMITED:
            self._say(
                "no limit",
                "nothing is cut: truncation was asked for, but there is neither max_length nor a "
                "model_max_length; pass max_length",
            )
            return None
        pair = any(map(texts.is_pair, range(len(texts.items))))
        special = self.num_special_tokens_to_add(pair) if options.add_special_tokens else 0
        overflowing = options.return_overflowing_tokens
        if length < special or (overflowing and length == special):
            raise ValueError(
                f"max_length={length} has no room for text: {special} of the tokens are special"
            )
        # What the Rust library compares with, whether or not special tokens are added.
        room = length - self.num_special_tokens_to_add(False)
        if options.stride and options.stride >= room:
            raise ValueError(
                f"stride={options.stride} must be less than the {max(room, 0)} tokens of text that "
                f"max_length={length} has room for"
            )
        # The stride shapes only what was cut off, and for some pairs it is impossible.
        stride = options.stride if overflowing else 0
        return Truncation(
            length, strategy, stride, check_side("truncation_side", self.truncation_side)
        )

    def _padding(self, options: CallOptions) -> Padding | None:
        """Return how to pad, or None."""
        strategy = options.padding_strategy
        if strategy is None:
            return None
        length = self.model_max_length if options.max_length is None else options.max_length
        truncated = options.truncation_strategy is not None and length <= UNLIMITED
        multiple = options.pad_to_multiple_of
        if truncated and multiple and length % multiple:
            raise ValueError(
                f"rows cut to max_length={length} cannot be padded to a multiple of {multiple}: "
                f"make max_length such a multiple"
            )
        if strategy == "longest" and options.max_length is not None and not truncated:
            self._say(
                "no use for max_length",
                "max_length has no effect with padding=True and no truncation; pass "
                "padding='max_length' or truncation=True",
            )
        if strategy == "max_length" and length > UNLIMITED:
            self._say(
                "no length",
                "nothing is padded: padding='max_length' was asked for, but there is neither "
                "max_length nor a model_max_length; pass max_length",
            )
            return None
        token, number = self.pad_token, self.pad_token_id
        if token is None or number is None:
            raise ValueError(
                "there is no padding token; set one (tokenizer.pad_token = tokenizer.eos_token) or "
                "add one (tokenizer.add_special_tokens({'pad_token': '[PAD]'}))"
            )
        side = check_side("padding_side", options.padding_side or self.padding_side)
        return Padding(None if strategy == "longest" else length, multiple, side, token, number)

    def _cut(
        self,
        encodings: list[Encoding],
        texts: Texts,
        truncation: Truncation,
        *,
        special: bool,
        target: bool,
    ) -> list[int]:
        """Return for each text how many tokens were cut."""
        added = [self.num_special_tokens_to_add(p) if special else 0 for p in (False, True)]
        cut: list[int] = []
        unknown: list[int] = []
        for row, encoding in enumerate(encodings):
            pair = texts.is_pair(row)
            lost = cut_tokens(encoding, truncation, added[pair], pair=pair)
            cut.append(0 if lost is None else lost)
            if lost is None:
                unknown.append(row)
        if unknown:
            again = Texts([texts.items[row] for row in unknown], batched=True, words=texts.words)
            uncut = self._run(again, special=special, target=target)
            for row, whole in zip(unknown, uncut, strict=True):
                cut[row] = len(whole) - len(encodings[row])
        return cut

    def _tell_cut(self, count: int, total: int, truncation: Truncation, then: str) -> None:
        if count:
            limit = self.model_max_length
            known = f" (the model takes {limit})" if limit <= UNLIMITED else ""
            self._say(
                "cut",
                f"{count} of {total} texts were cut to {truncation.max_length} tokens{known}; "
                f"{then}; this is said once",
            )

    def _tell_too_long(self, longest: int) -> None:
        if longest > self.model_max_length:
            self._say(
                "too long",
                f"a text has {longest} tokens and the model takes {self.model_max_length}; pass "
                f"truncation=True to cut it; this is said once",
            )

    def _say(self, what: str, message: str) -> None:
        """Give the notice `what` once in the life of this tokenizer."""
        if what not in self._said:
            self._said.add(what)
            notices.warning("%s", message)


#: The name under which the field knows a tokenizer that is made of a tokenizer.json.
PreTrainedTokenizerFast = Tokenizer
