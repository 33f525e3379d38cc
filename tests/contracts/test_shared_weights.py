"""Processes that load the same checkpoint share the memory of its weights."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/smaps").exists(), reason="only Linux says which memory is shared"
)

#: Loads a model, reads all of its weights, and tells on demand what it maps of the file (in bytes).
PROGRAM = """
import json, sys
import regard

NAME = "sentence-transformers/all-MiniLM-L6-v2"
model = regard.AutoModel.from_pretrained(NAME, dtype=sys.argv[1])
model(**regard.AutoTokenizer.from_pretrained(NAME)("What is read.", return_tensors="pt"))
total = sum(float(weight.detach().sum()) for weight in model.parameters())
print("ready", flush=True)
sys.stdin.readline()
found = dict.fromkeys(("Rss", "Shared_Clean", "Private_Dirty"), 0)
inside = False
for line in open("/proc/self/smaps"):
    name, _, value = line.partition(":")
    if "-" in name.split(" ")[0]:
        inside = line.rstrip().endswith(".safetensors")
    elif inside and name in found:
        found[name] += 1024 * int(value.split()[0])
print(json.dumps(found), flush=True)
sys.stdin.readline()
"""


def maps(dtypes: list[str]) -> list[dict[str, int]]:
    """Return what some processes, which live at the same time, map of the file."""
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, dtype], stdin=pipe, stdout=pipe, text=True)
        for dtype in dtypes
    ]
    try:
        for each in processes:
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"
        answers = [ask(each) for each in processes]
        return [json.loads(answer) for answer in answers]
    finally:
        for each in processes:
            each.communicate("\n")


def ask(process: subprocess.Popen[str]) -> str:
    """Return what a process says when it is asked."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline()


def test_weights_in_the_types_of_the_file_are_shared():
    for found in maps(["float32", "float32"]):
        # All but the file's header, and what a page at each end may add.
        assert found["Rss"] > 85e6
        assert found["Shared_Clean"] > 0.99 * found["Rss"]
        assert found["Private_Dirty"] < 1e6


def test_weights_in_another_type_are_not_kept_in_the_file_s():
    (found,) = maps(["bfloat16"])
    assert found["Rss"] == 0
