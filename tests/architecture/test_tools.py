"""The tools that guard the source run as tests, so that one command checks everything.

A tool that is missing is a failure, not a skip: a check that may be left out is no check.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Import-linter has no `python -m`; this is what its command does.
LINT_IMPORTS = "from importlinter.cli import lint_imports_command; lint_imports_command()"
SPELLED = ("src", "tests", "docs", "benchmarks", "recipes", "README.md", "CONTRIBUTING.md")


def run_tool(module: str, *command: str) -> None:
    """Run `python *command` in the root; a failure shows the tool's own words and no traceback."""
    if importlib.util.find_spec(module) is None:
        pytest.fail(f"{module} is not installed: pip install -e '.[dev]'", pytrace=False)
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        words = f"python {' '.join(command)}\n{done.stdout}{done.stderr}"
        pytest.fail(words, pytrace=False)


def test_formatting():
    run_tool("ruff", "-m", "ruff", "format", "--check", "--no-cache", ".")


def test_lint():
    run_tool("ruff", "-m", "ruff", "check", "--no-cache", ".")


def test_types():
    run_tool("pyright", "-m", "pyright", "--pythonpath", sys.executable)


def test_import_direction():
    run_tool("importlinter", "-c", LINT_IMPORTS, "--no-cache", "--no-logo")


def test_spelling():
    run_tool(
        "codespell_lib", "-m", "codespell_lib", *filter(lambda p: (ROOT / p).exists(), SPELLED)
    )


def test_a_failing_tool_fails_in_its_own_words():
    with pytest.raises(pytest.fail.Exception, match="the tool's words"):
        run_tool("ruff", "-c", "raise SystemExit('the tool' + chr(39) + 's words')")


def test_a_missing_tool_is_a_failure():
    with pytest.raises(pytest.fail.Exception, match="pip install"):
        run_tool("no_such_tool", "-m", "no_such_tool")


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("errors", "import regard.outputs"),
        ("native/library", "import regard.linear"),
        ("attention/kernels", "import regard.layers.blocks"),
        ("layers/blocks", "import regard.config"),
        ("checkpoints/files", "def late():\n    import regard.text"),
        ("text/__init__", "from regard import models"),
        ("text/__init__", "from regard.layers import blocks"),
        ("models/__init__", "from regard import pipelines"),
        ("pipelines/__init__", "import transformers"),
    ],
)
def test_import_contracts_catch(tmp_path, module, line):
    left_out = shutil.ignore_patterns("shipped", "__pycache__")
    package = shutil.copytree(ROOT / "src" / "regard", tmp_path / "regard", ignore=left_out)
    with (package / f"{module}.py").open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    command = [
        sys.executable,
        "-c",
        LINT_IMPORTS,
        "--no-cache",
        "--config",
        ROOT / "pyproject.toml",
    ]
    there = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        command, cwd=tmp_path, env=there, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    imported = line.split()[-1] if "transformers" in line else "regard"
    assert f"-> {imported}" in done.stdout, done.stdout + done.stderr
