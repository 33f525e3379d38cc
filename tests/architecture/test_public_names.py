"""The public names are a promise: they change on purpose, and `public_names.txt` says to what."""

import ast
from pathlib import Path

import pytest

import regard

FROZEN = Path(__file__).with_name("public_names.txt")
STUB = Path(regard.__file__).with_name("__init__.pyi")
HOW = (
    "regard.__all__ and tests/architecture/public_names.txt differ. A published name stays. "
    "If the change is meant: make freeze-names, and say why in the commit (CONTRIBUTING.md)."
)


def stub_names(text: str) -> set[str]:
    """Return the names that a stub exports: definitions, and imports ``as`` itself or listed."""
    names, imported, listed = set(), set(), set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.ImportFrom | ast.Import):
            imported |= {alias.asname or alias.name for alias in node.names}
            names |= {alias.asname for alias in node.names if alias.asname == alias.name}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            names.add(target.id)
            if target.id == "__all__" and node.value:
                listed = set(ast.literal_eval(node.value))
    return (names | (imported & listed)) - {"__all__", "__dir__", "__getattr__"}


def test_names_are_the_frozen_ones():
    frozen = FROZEN.read_text("utf-8").split()
    now, then = set(regard.__all__), set(frozen)
    lines = [f"new: {name}" for name in sorted(now - then)]
    lines += [f"gone: {name}" for name in sorted(then - now)]
    assert not lines, "\n".join([HOW, *lines])
    assert frozen == sorted(then), f"{FROZEN.name} is not sorted, or a name is there twice"
    assert len(regard.__all__) == len(now), "regard.__all__ has a name twice"
    assert now, "regard.__all__ is empty"


def test_every_name_resolves():
    missing = [name for name in regard.__all__ if getattr(regard, name, None) is None]
    assert not missing, f"in regard.__all__, but not to be had: {', '.join(missing)}"


def test_stub_declares_the_same_names():
    declared = stub_names(STUB.read_text("utf-8"))
    differ = declared.symmetric_difference(regard.__all__)
    assert not differ, f"__init__.py and __init__.pyi differ in {', '.join(sorted(differ))}"


def test_dir_holds_every_name():
    assert set(regard.__all__) <= set(dir(regard))


def test_unknown_name_is_an_error_that_names_the_nearest():
    name = max(regard.__all__, key=len)
    with pytest.raises(AttributeError, match=name):
        getattr(regard, name[:-1] + "x")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("from a import B as B, C", {"B"}),
        ("from a import B, C\n__all__ = ['B']", {"B"}),
        ("__version__: str\ndef f(): ...\nclass D: ...", {"__version__", "f", "D"}),
        ("def __getattr__(name: str) -> object: ...", set()),
    ],
)
def test_stub_is_read_as_a_type_checker_reads_it(text, names):
    assert stub_names(text) == names
