"""Rows for the new pieces of an extended vocabulary, made of those of the old pieces."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from regard.models.model import PreTrainedModel
from regard.models.vocabulary import bias_of


def extend_embeddings(model: PreTrainedModel, pieces: Mapping[int, Sequence[int]]) -> None:
    """Let a model know the new pieces of a vocabulary: each is the mean of what it was before.

        extension = regard.extend_tokenizer(tokenizer, texts, 2000)
        regard.extend_embeddings(model, extension.pieces)

    Word vectors, and the rows and biases of an output map over the vocabulary, become those means
    (Gee et al. 2022, section 3.2), and the matrices grow where they have no such rows yet; a piece
    that was nothing before stays as it is drawn at the start. Old rows keep their values.

    Args:
        model: The model, which changes.
        pieces: For the number of each new piece, the numbers of the old ones.

    Raises:
        ValueError: An old piece has no row in the model, or is new itself.
    """
    rows = model.get_input_embeddings().num_embeddings
    wrong = [n for old in pieces.values() for n in old if not 0 <= n < rows or n in pieces]
    if wrong:
        raise ValueError(
            f"piece {wrong[0]} is to be the source of a new one, and is new itself or not among "
            f"the model's {rows} rows; give the pieces that the model's own tokenizer makes"
        )
    size = max(pieces, default=-1) + 1
    if size > rows:
        model.resize_token_embeddings(size)
    tables: list[Tensor] = [model.get_input_embeddings().weight]
    output = model.get_output_embeddings()
    if output is not None:
        bias = bias_of(output)
        tables += [*([] if output.weight is tables[0] else [output.weight])]
        tables += [] if bias is None else [bias]
    known = {number: [*old] for number, old in pieces.items() if old}
    with torch.no_grad():
        for table in tables:
            for number, old in known.items():
                table[number] = table[old].mean(0)
