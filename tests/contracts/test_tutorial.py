"""The tutorial runs as it stands, from its first line to its last, in both languages."""

import ast
import io
import re
import tokenize
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"
#: What stands behind a line whose result is shown.
ARROW = "# -> "


def _blocks(name: str, language: str = "python") -> list[str]:
    """Return the code blocks of a document."""
    text = (DOCS / name).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def _shown(source: str) -> dict[int, str]:
    """Return the results that are shown, by the line on which they stand."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {
        token.start[0]: token.string.removeprefix(ARROW)
        for token in tokens
        if token.type == tokenize.COMMENT and token.string.startswith(ARROW)
    }


def _run(source: str, names: dict[str, Any]) -> list[str]:
    """Run a block; return the lines whose results are others than it says."""
    shown, wrong = _shown(source), list[str]()
    for statement in ast.parse(source).body:
        expected = shown.pop(statement.end_lineno or 0, None)
        if expected is None:
            exec(compile(ast.Module([statement], []), "tutorial", "exec"), names)
            continue
        assert isinstance(statement, ast.Expr), f"{expected!r} stands behind no expression"
        found = eval(compile(ast.Expression(statement.value), "tutorial", "eval"), names)
        if str(found) != expected:
            wrong.append(f"{ast.unparse(statement)}: {found}, not {expected}")
    assert not shown, f"results behind no statement: {shown}"
    return wrong


def test_every_snippet_gives_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "tutorial"}
    wrong = [line for block in _blocks("tutorial.md") for line in _run(block, names)]
    assert not wrong


def test_a_wrong_result_is_found() -> None:
    assert _run("1 + 1  # -> 3\n", {}) == ["1 + 1: 2, not 3"]
    assert _run("x = 1\nx + 1  # -> 2\n", {}) == []


def test_both_languages_have_the_same_code() -> None:
    english, chinese = _blocks("tutorial.md"), _blocks("tutorial.zh.md")
    assert len(english) > 20
    assert [ast.unparse(ast.parse(block)) for block in english] == [
        ast.unparse(ast.parse(block)) for block in chinese
    ]
    assert [_shown(block) for block in english] == [_shown(block) for block in chinese]


def test_both_languages_have_the_same_parts() -> None:
    english, chinese = (
        re.findall(r"^(#+) ", (DOCS / name).read_text(encoding="utf-8"), re.MULTILINE)
        for name in ("tutorial.md", "tutorial.zh.md")
    )
    assert english == chinese
