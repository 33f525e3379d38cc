"""The collector while modules are imported: it rests, torch is left out for good, users decide."""

import subprocess
import sys

import pytest

PROGRAM = """
import gc, weakref
{before}
import regard
regard.Layout
print(gc.isenabled(), gc.get_freeze_count() > 100_000)

class Node:
    pass

regard.SentenceEncoder
node = Node()
node.itself, seen = node, weakref.ref(node)
regard.pipeline
frozen = gc.get_freeze_count()
regard.TokenBatch, regard.Trainer
del node
gc.collect()
print(seen() is None, gc.get_freeze_count() <= frozen)
"""


@pytest.mark.parametrize(
    ("before", "enabled", "frozen"),
    [
        ("", True, True),
        ("import torch", True, False),
        ("gc.disable()", False, True),
    ],
    ids=["alone", "after torch", "collector off"],
)
def test_torch_is_never_searched_and_all_that_comes_later_is(before, enabled, frozen):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(enabled), str(frozen), "True", "True"]


def test_an_import_that_fails_leaves_the_collector_on():
    program = """
import gc, regard.importing
try:
    with regard.importing.uncollected():
        import regard.there_is_no_such_module
except ImportError:
    print(gc.isenabled(), gc.get_freeze_count())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "0"]
