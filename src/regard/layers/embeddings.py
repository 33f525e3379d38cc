"""From token ids to vectors: words, learned positions and segments."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from regard.batch import Layout, TokenBatch
from regard.dropout import Dropout
from regard.errors import ConfigError


class LearnedPositions(nn.Embedding):
    """One trained vector per position (Devlin et al. 2019, section 3.2).

    Args:
        count: How many positions have a vector.
        width: Size of the vectors.
        padding: Position whose vector stays zero, if any.
        first: Number of a sequence's first position.
    """

    def __init__(
        self, count: int, width: int, padding: int | None = None, *, first: int = 0
    ) -> None:
        super().__init__(count, width, padding)
        self.first = first

    @property
    def usable(self) -> int:
        """How long a sequence may be."""
        return self.num_embeddings - self.first

    def number(self, batch: TokenBatch) -> Int[Tensor, " tokens"]:
        """Return the position of each token whose caller gave none."""
        return batch.layout.positions + self.first if self.first else batch.layout.positions

    def forward(self, batch: TokenBatch) -> Float[Tensor, "tokens width"]:  # pyright: ignore[reportIncompatibleMethodOverride] - takes the batch, to name the row that is too long
        """Return the vector of each token's position."""
        layout = batch.layout
        if batch.positions is not None:
            check_ids("position", batch.positions, self.num_embeddings, layout)
            return super().forward(batch.positions)
        positions = self.number(batch)
        # The width of the padded rows is known without asking the device.
        if layout.reach > self.usable and layout.tokens:
            last = int(positions.argmax())
            if int(positions[last]) >= self.num_embeddings:
                raise ValueError(
                    f"the sequence at {layout.where(last)} is longer than the "
                    f"{self.usable} positions of this model; tokenize with "
                    f"truncation=True, max_length={self.usable}"
                )
        return super().forward(positions)


class SinusoidalPositions(nn.Module):
    """Sines and cosines of wavelengths that grow geometrically (Vaswani et al. 2017, section 3.5).

    Nothing is trained and no length is too long: vectors are computed for the positions at hand.

    Args:
        width: Size of the vectors; even.
        interleaved: Whether a sine and its cosine stand side by side, as in the paper; else all
            sines come first, as in the authors' code and Marian's.
    """

    def __init__(self, width: int, *, interleaved: bool) -> None:
        super().__init__()
        if width % 2:
            raise ConfigError(f"sinusoidal positions need an even hidden_size; found {width}")
        self.width, self.interleaved = width, interleaved

    def forward(self, batch: TokenBatch) -> Float[Tensor, "tokens width"]:
        """Return the vector of each token's position, in fp32."""
        positions = batch.layout.positions if batch.positions is None else batch.positions
        even = torch.arange(0, self.width, 2, device=positions.device)
        angles = positions[:, None].double() / 10000.0 ** (even.double() / self.width)
        pair = (angles.sin().float(), angles.cos().float())
        return torch.stack(pair, -1).flatten(-2) if self.interleaved else torch.cat(pair, -1)


class Embeddings(nn.Module):
    """Sum of word, position and segment vectors, normalised (Devlin et al. 2019, figure 2).

    Args:
        words: Vector of each token id.
        positions: Vectors of positions, or None.
        segments: Vector of each segment, or None for a model that knows none.
        norm: Applied to the sum.
        dropout: Probability of dropping an element in training.
        scale: Factor of the word vectors (Vaswani et al. 2017, section 3.4).

    Attributes:
        scale_given: Whether vectors that a caller gives in place of ids are scaled too.
    """

    scale_given: bool = False

    def __init__(
        self,
        words: nn.Embedding,
        positions: LearnedPositions | SinusoidalPositions | None,
        segments: nn.Embedding | None,
        norm: nn.Module,
        dropout: float,
        *,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.words = words
        self.positions = positions
        self.segments = segments
        self.norm = norm
        self.dropout = Dropout(dropout)

    def forward(self, batch: TokenBatch) -> Float[Tensor, "tokens width"]:
        """Return the first hidden vectors of a packed batch."""
        hidden = self._word_vectors(batch)
        if self.segments is not None:
            hidden = hidden + self._segment_vectors(batch, self.segments)
        elif batch.segments is not None and bool(batch.segments.any()):
            raise ValueError("token_type_ids has segments other than 0; this model knows none")
        if self.positions is not None:
            hidden = hidden + self.positions(batch).to(hidden.dtype)
        return self.dropout(self.norm(hidden))

    def _word_vectors(self, batch: TokenBatch) -> Tensor:
        if batch.embeds is not None:
            if batch.embeds.shape[-1] != self.words.embedding_dim:
                raise ValueError(
                    f"inputs_embeds have width {batch.embeds.shape[-1]}; "
                    f"this model's is {self.words.embedding_dim}"
                )
            return batch.embeds * self.scale if self.scale_given else batch.embeds
        if batch.ids is None:
            raise ValueError("a TokenBatch needs ids or embeds")
        check_ids("token id", batch.ids, self.words.num_embeddings, batch.layout)
        vectors = self.words(batch.ids)
        return vectors if self.scale == 1.0 else vectors * self.scale

    def _segment_vectors(self, batch: TokenBatch, segments: nn.Embedding) -> Tensor:
        if batch.segments is None:
            return segments.weight[0]
        check_ids("segment", batch.segments, segments.num_embeddings, batch.layout)
        return segments(batch.segments)


def twin(words: nn.Embedding) -> nn.Embedding:
    """Return an embedding with the very matrix of `words`, until a checkpoint gives it another."""
    other = nn.Embedding(
        words.num_embeddings, words.embedding_dim, words.padding_idx, device="meta"
    )
    other.weight = words.weight
    return other


def check_ids(what: str, ids: Int[Tensor, " tokens"], count: int, layout: Layout) -> None:
    """Raise `ValueError` naming the place of an id that is outside 0 to `count` - 1.

    Skipped on accelerators, where looking would wait for the device; they report it themselves.
    """
    if ids.device.type != "cpu" or not len(ids):
        return
    low, high = (int(bound) for bound in torch.aminmax(ids))
    if low < 0 or high >= count:
        bad = low if low < 0 else high
        place = layout.where(int((ids == bad).nonzero()[0]))
        raise ValueError(f"{what} {bad} at {place} is outside 0 to {count - 1}")
