"""From hidden vectors to scores: the modules that task heads are made of."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.batch import Layout
from regard.dropout import Dropout
from regard.layers.activations import activation
from regard.linear import Linear


def first_token(
    hidden: Float[Tensor, "tokens width"], layout: Layout
) -> Float[Tensor, "rows width"]:
    """Return the vector of each sequence's first token, in the caller's order."""
    return layout.reduce(hidden, lambda tokens: tokens[:, 0])


def mean_vector(
    hidden: Float[Tensor, "tokens width"], layout: Layout
) -> Float[Tensor, "rows width"]:
    """Return the mean of each sequence's vectors, in the caller's order."""
    return layout.reduce(hidden, lambda tokens: tokens.mean(1))


class Pooler(nn.Module):
    """``tanh(dense(first token))`` (Devlin et al. 2019, section 3.2: the vector C).

    Args:
        width: Size of the hidden vectors, in and out.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = Linear(width, width)

    def forward(
        self, hidden: Float[Tensor, "tokens width"], layout: Layout
    ) -> Float[Tensor, "rows width"]:
        """Return one vector per sequence, in the caller's order."""
        return self.dense(first_token(hidden, layout)).tanh()


class Classifier(nn.Module):
    """``output(dropout(activation(dense(x))))``: a classifier with a hidden layer.

    Args:
        dense: The hidden layer.
        classes: Number of scores.
        act: Name of the activation, see `regard.layers.activations`.
        dropout: Probability of dropping an element of the hidden layer in training.
        drop_input: Whether elements of the vectors are dropped too.
    """

    def __init__(
        self,
        dense: nn.Linear,
        classes: int,
        act: str,
        dropout: float,
        *,
        drop_input: bool = False,
    ) -> None:
        super().__init__()
        self.drop_input = drop_input
        self.dense = dense
        self.activation = activation(act)
        self.dropout = Dropout(dropout)
        self.output = Linear(dense.out_features, classes)

    def forward(self, x: Float[Tensor, "count width"]) -> Float[Tensor, "count classes"]:
        """Score each vector, of a text or of a token."""
        x = self.dropout(x) if self.drop_input else x
        return self.output(self.dropout(self.activation(self.dense(x))))


class LanguageModelHead(nn.Module):
    """Transform, normalise, and score every word of the vocabulary.

    Args:
        width: Size of the hidden vectors.
        vocabulary: Number of words.
        act: Name of the activation, see `regard.layers.activations`.
        eps: Of the normalisation.
        inner: Size of the word vectors; None for `width`.
        tied: Whether the model sets the matrix of `decoder`, so that it never needs one of its own.
    """

    def __init__(
        self,
        width: int,
        vocabulary: int,
        act: str,
        eps: float,
        *,
        inner: int | None = None,
        tied: bool = True,
    ) -> None:
        super().__init__()
        inner = width if inner is None else inner
        self.dense = Linear(width, inner)
        self.activation = activation(act)
        self.norm = nn.LayerNorm(inner, eps=eps)
        self.decoder = word_scores(inner, vocabulary, tied=tied)

    def forward(self, hidden: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens vocabulary"]:
        """Return one score per word for each token."""
        return self.decoder(self.norm(self.activation(self.dense(hidden))))


def word_scores(width: int, vocabulary: int, *, tied: bool, bias: bool = True) -> nn.Linear:
    """Return the map from a token's vector to a score for each word.

    Args:
        width: Size of the vectors.
        vocabulary: Number of words.
        tied: Whether the model sets the matrix, so that the map never needs one of its own.
        bias: Whether each word has a bias, at first zero.
    """
    scores = Linear(width, vocabulary, bias=bias, device="meta" if tied else None)
    if bias:
        scores.bias = nn.Parameter(torch.zeros(vocabulary))
    return scores
