"""Hooks see their own thread only, and go away."""

import threading

import pytest
import torch
from torch import nn

from regard.observe import observing


def test_sees_inputs_and_output_within_the_block():
    layer, seen = nn.Linear(2, 3), []
    x = torch.ones(1, 2)
    with observing({layer: lambda module, inputs, output: seen.append((module, *inputs, output))}):
        y = layer(x)
    layer(x)
    assert len(seen) == 1
    assert seen[0][0] is layer
    assert seen[0][1] is x
    assert seen[0][2] is y


def test_other_threads_are_not_seen():
    layer, seen = nn.Linear(2, 3), []
    with observing({layer: lambda *_: seen.append(1)}):
        thread = threading.Thread(target=layer, args=(torch.ones(1, 2),))
        thread.start(), thread.join()
        assert not seen
        layer(torch.ones(1, 2))
    assert len(seen) == 1


def test_hooks_go_away_after_an_error():
    layer = nn.Linear(2, 3)
    with pytest.raises(RuntimeError), observing({layer: lambda *_: None}):
        layer(torch.ones(1, 5))
    assert not layer._forward_hooks
