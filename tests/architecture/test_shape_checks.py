"""Annotated shapes are checked while testing; without this the annotations would be comments."""

import jaxtyping
import pytest
import torch

from regard.attention.kernels import eager
from regard.batch import Layout


def test_kernels_refuse_a_wrong_shape(layout):
    tokens = int(sum(layout.lengths))
    right, wrong = torch.zeros(tokens, 2, 4), torch.zeros(tokens)
    assert eager(right, right, right, layout) is not None
    with pytest.raises(jaxtyping.TypeCheckError, match="parameter 'query'"):
        eager(wrong, right, right, layout)


@pytest.fixture
def layout():
    # To be adapted by whoever changes how a Layout is made or what `eager` takes.
    return Layout.from_lengths([3, 2])
