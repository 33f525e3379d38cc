"""The import of one part never pays for another, and no part pays for what only tests use."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "tokenizers", "huggingface_hub", "transformers")

#: Runs `python -m regard` with the given arguments inside this interpreter, to look at sys.modules.
RUN_COMMAND = """
import runpy, sys
sys.argv = ["regard", "{argument}"]
try:
    runpy.run_module("regard", run_name="__main__", alter_sys=True)
except SystemExit as end:
    status = end.code or 0
else:
    status = 0
"""
IMPORT_EVERYTHING = """
import importlib, pkgutil, regard
for module in pkgutil.walk_packages(regard.__path__, "regard."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


def modules_after(code: str) -> tuple[set[str], str]:
    """Return the top-level modules of a fresh interpreter after `code`, and what it printed."""
    code += "\nimport sys\nprint('\\nMODULES', *{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{code}\n{done.stdout}{done.stderr}"
    said, _, modules = done.stdout.rpartition("\nMODULES")
    return set(modules.split()), said


@pytest.mark.parametrize("heavy", HEAVY)
def test_import_regard_is_light(heavy, light_modules):
    assert heavy not in light_modules, f"`import regard` imports {heavy}"


@pytest.fixture(scope="module")
def light_modules():
    modules, _ = modules_after("import regard")
    assert "regard" in modules
    return modules


@pytest.mark.parametrize(("argument", "answer"), [("--help", "Usage"), ("--version", "0.")])
def test_command_answers_without_torch(argument, answer):
    modules, said = modules_after(
        RUN_COMMAND.format(argument=argument) + "assert status == 0, status"
    )
    assert answer in said
    assert not {"torch", "transformers"} & modules, f"`regard {argument}` imports too much"


def test_no_module_imports_what_only_tests_use():
    modules, _ = modules_after(IMPORT_EVERYTHING)
    assert "regard" in modules
    assert not {"transformers", "sentence_transformers", "beartype", "hypothesis"} & modules


def test_loading_and_encoding_do_not_import_the_compiler():
    """One random fill on ``meta`` would import torch's compiler, a second of every cold start."""
    code = "import regard\nregard.SentenceEncoder.from_pretrained().encode('x')\n"
    code += "import sys\nprint('DYNAMO', 'torch._dynamo' in sys.modules)"
    _, said = modules_after(code)
    assert "DYNAMO False" in said
