"""Language modelling: some tokens hidden and to be found again, or each next one to be told."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Generator, Tensor

from regard.data.collate import RandomCollator, as_mappings, pad_features
from regard.data.labels import IGNORED
from regard.errors import DataError
from regard.text.encoding import BatchEncoding
from regard.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class DataCollatorForLanguageModeling(RandomCollator):
    """Pads texts and makes the labels of masked or causal language modelling.

    Masked (Devlin et al. 2019, section 3.1): each token is chosen with `mlm_probability`. A chosen
    one becomes the mask token (`mask_replace_prob`), a random token that is not special
    (`random_replace_prob`), or stays; ``labels`` has it, and -100 elsewhere. Special tokens and
    padding are never chosen. Causal (``mlm=False``): ``labels`` is ``input_ids``, and -100 where
    there is padding; a padding token that stands in the text, as an end of text, is learned.

    Attributes:
        tokenizer: Knows the mask token, the padding token and the side.
        mlm: Masked or causal.
        mlm_probability: The share of the tokens to choose.
        mask_replace_prob: The share of the chosen that become the mask token.
        random_replace_prob: The share of the chosen that become a random token.
        whole_word_mask: Choose words, each with all its tokens. Which tokens are a word is told by
            a column ``word_ids``; else by ``offset_mapping``, where tokens that touch are a word;
            else by the vocabulary's marks: WordPiece's ``##``, or the space before words.
        pad_to_multiple_of: Round the length up to a multiple of this.
        return_tensors: ``"pt"`` or ``"np"``.
    """

    tokenizer: Tokenizer
    mlm: bool = True
    mlm_probability: float = 0.15
    mask_replace_prob: float = 0.8
    random_replace_prob: float = 0.1
    whole_word_mask: bool = False
    pad_to_multiple_of: int | None = None
    return_tensors: str = "pt"

    def __post_init__(self):
        for name in ("mlm_probability", "mask_replace_prob", "random_replace_prob"):
            check_share(name, getattr(self, name))
        if self.mask_replace_prob + self.random_replace_prob > 1:
            raise ValueError(
                f"mask_replace_prob={self.mask_replace_prob} and random_replace_prob="
                f"{self.random_replace_prob} are shares of the same tokens; wanted at most 1 in sum"
            )
        if self.whole_word_mask and not self.mlm:
            raise ValueError("whole_word_mask=True has no meaning without mlm=True")
        if self.mlm and self.tokenizer.mask_token_id is None:
            raise ValueError(
                "the tokenizer has no mask token; pass mlm=False for causal language modelling, or "
                "add one: tokenizer.add_special_tokens({'mask_token': '[MASK]'})"
            )

    def __call__(
        self, features: Sequence[Any], generator: Generator | None = None
    ) -> BatchEncoding:
        """Return the batch: ``input_ids``, ``attention_mask``, ``labels`` and what else there is.

        Args:
            features: Tokenized examples as mappings, or lists of ids.
            generator: Where all random numbers come from.
        """
        features, words = _split_words(features) if self.whole_word_mask else (features, None)
        batch = pad_features(
            self.tokenizer,
            features,
            pad_to_multiple_of=self.pad_to_multiple_of,
            return_attention_mask=True,
        )
        ids, attended = batch["input_ids"], batch["attention_mask"].bool()
        special = batch.pop("special_tokens_mask", None)
        offsets = batch.pop("offset_mapping", None)
        if not self.mlm:
            batch["labels"] = ids.masked_fill(~attended, IGNORED)
        else:
            free = attended & ~(
                is_special(ids, self.tokenizer) if special is None else special.bool()
            )
            starts = None
            if self.whole_word_mask:
                starts = self._word_starts(ids, attended, words, offsets)
            batch["input_ids"], batch["labels"] = self.mask_tokens(ids, free, starts, generator)
        if self.return_tensors == "np":
            batch.update({name: np.asarray(value) for name, value in batch.items()})
        return batch

    def mask_tokens(
        self,
        ids: Int[Tensor, "rows columns"],
        free: Bool[Tensor, "rows columns"],
        starts: Bool[Tensor, "rows columns"] | None = None,
        generator: Generator | None = None,
    ) -> tuple[Int[Tensor, "rows columns"], Int[Tensor, "rows columns"]]:
        """Return the ids with some masked, and the labels.

        Args:
            ids: The tokens; they stay as they are.
            free: True where a token may be chosen.
            starts: True where a word begins, to choose whole words; None chooses tokens.
            generator: Where all random numbers come from: equally many for every content.
        """
        draw, fate = torch.rand(2, *ids.shape, generator=generator)
        other = _random_tokens(ids, self.tokenizer, generator)
        chosen = draw < self.mlm_probability
        if starts is not None:
            columns = torch.arange(ids.shape[1]).expand_as(ids)
            first = torch.where(starts, columns, 0).cummax(1).values
            chosen = chosen.gather(1, first)  # a word's fate is its first token's
        chosen &= free
        masked = chosen & (fate < self.mask_replace_prob)
        swapped = chosen & ~masked & (fate < self.mask_replace_prob + self.random_replace_prob)
        hidden = ids.masked_fill(masked, self.tokenizer.mask_token_id or 0)
        return torch.where(swapped, other, hidden), ids.masked_fill(~chosen, IGNORED)

    def _word_starts(
        self, ids: Tensor, attended: Tensor, words: list[Any] | None, offsets: Any
    ) -> Bool[Tensor, "rows columns"]:
        """Return True where a token does not continue the word of the token before it."""
        starts = torch.ones_like(attended)
        if words is not None:
            rows = [[-1 if word is None else word for word in row] for row in words]
            numbers = torch.full_like(ids, -1)
            numbers[attended] = torch.tensor([word for row in rows for word in row])
            starts[:, 1:] = (numbers[:, 1:] != numbers[:, :-1]) | (numbers[:, 1:] < 0)
        elif offsets is not None:
            begin, end = torch.as_tensor(offsets).unbind(-1)
            starts[:, 1:] = (begin[:, 1:] != end[:, :-1]) | (end[:, 1:] == 0)
        else:
            starts = ~torch.isin(ids, self._inside)
        return starts

    @cached_property
    def _inside(self) -> Tensor:
        """The tokens that continue a word, as the vocabulary marks them or the starts of words."""
        tokens = self.tokenizer.get_vocab()
        inside = [n for token, n in tokens.items() if token.startswith("##")]
        if not inside:
            special = {*self.tokenizer.all_special_ids}
            starts = {n for token, n in tokens.items() if token.startswith(("Ġ", "▁"))}
            if not starts:
                raise DataError(
                    "the vocabulary does not tell which tokens are one word; tokenize with "
                    "return_offsets_mapping=True, or give the examples a column 'word_ids'"
                )
            inside = [n for n in tokens.values() if n not in starts | special]
        return torch.tensor(inside)


@dataclass(frozen=True)
class DataCollatorForWholeWordMask(DataCollatorForLanguageModeling):
    """`DataCollatorForLanguageModeling` that chooses whole words."""

    whole_word_mask: bool = True


def is_special(ids: Tensor, tokenizer: Tokenizer) -> Bool[Tensor, "rows columns"]:
    """Return True where a special token stands."""
    return torch.isin(ids, torch.tensor(tokenizer.all_special_ids, dtype=ids.dtype))


def check_share(name: str, value: float) -> None:
    """Raise `ValueError` for anything but a number from 0 to 1."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name}={value!r} is no share; wanted 0 to 1")


def _random_tokens(ids: Tensor, tokenizer: Tokenizer, generator: Generator | None) -> Tensor:
    """Return tokens drawn evenly from all that are not special, in the shape of `ids`."""
    special = torch.tensor(sorted(set(tokenizer.all_special_ids)), dtype=torch.long)
    size = len(tokenizer)
    drawn = torch.randint(size - len(special), ids.shape, generator=generator)
    # The n-th ordinary token is n plus the number of special ones before it.
    gaps = special - torch.arange(len(special))
    return drawn + torch.searchsorted(gaps, drawn, right=True)


def _split_words(features: Sequence[Any]) -> tuple[Sequence[Any], list[Any] | None]:
    """Return the features without their ``word_ids``, and these."""
    rows = as_mappings(features)
    if "word_ids" not in rows[0]:
        return rows, None
    for number, row in enumerate(rows):
        if len(row["word_ids"]) != len(row["input_ids"]):
            raise DataError(
                f"example {number} has {len(row['word_ids'])} word_ids and "
                f"{len(row['input_ids'])} tokens; wanted one for each token"
            )
    rest = [{n: v for n, v in row.items() if n != "word_ids"} for row in rows]
    return rest, [row["word_ids"] for row in rows]
