"""Comparing answers of pipelines."""

from typing import Any

import pytest


def assert_close(found: Any, expected: Any) -> None:
    """Compare answers, whose scores come from other batches."""
    if isinstance(expected, dict):
        assert [*found] == [*expected]
        for key in expected:
            assert_close(found[key], expected[key])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other)
    else:
        assert found == (pytest.approx(expected, abs=1e-5) if type(expected) is float else expected)
