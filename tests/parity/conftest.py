"""What a family inherits of another's checks is mostly checked in the slow run."""

import pytest

#: What the fast run checks of such a family, beside what its own class says.
OF_KIN = (
    "test_outputs_losses_and_gradients",
    "test_files_are_the_same_both_ways",
    "test_published_size",
    "test_published_sizes",
)


def pytest_itemcollected(item):
    kind, name = getattr(item, "cls", None), getattr(item, "originalname", item.name)
    if kind is None or name in OF_KIN or name in vars(kind):
        return
    if any("prefix" in vars(base) for base in kind.__mro__[1:]):  # the checks of a whole family
        item.add_marker(pytest.mark.slow)
