"""What a family of kin inherits of checks is mostly checked in the slow run."""

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
    of_family = any("prefix" in vars(base) for base in kind.__mro__[1:])
    if of_family or getattr(kind, "kin", False):
        item.add_marker(pytest.mark.slow)
