"""Cold start to the first embedding: regard, transformers and sentence-transformers.

    python benchmarks/startup.py [--rounds 5]

Each run is a new process that imports, loads MiniLM and embeds one sentence. The contenders take
turns, and a process that only imports torch runs among them as the floor that all share. With
bytecode as Python caches it, and without (PYTHONDONTWRITEBYTECODE and an empty cache, as in many
containers). Every process prints its vector, and the vectors are compared.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from regard.checkpoints.files import find_checkpoint

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
TEXT = "A great film."
PROGRAMS = {
    "import torch only": "import torch; print('[]')",
    "regard": """
import regard
encoder = regard.SentenceEncoder.from_pretrained(FOLDER)
print(encoder.encode(TEXT).tolist())
""",
    "transformers": """
import torch
from transformers import AutoModel, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(FOLDER)
model = AutoModel.from_pretrained(FOLDER)
with torch.inference_mode():
    hidden = model(**tokenizer(TEXT, return_tensors="pt")).last_hidden_state[0].mean(0)
print((hidden / hidden.norm()).tolist())
""",
    "sentence-transformers": """
from sentence_transformers import SentenceTransformer
print(SentenceTransformer(FOLDER, device="cpu").encode(TEXT).tolist())
""",
}


def run(program: str, folder: str, environment: dict[str, str]) -> tuple[float, list[float]]:
    """Run `program` in a new process; return its seconds and the vector that it printed."""
    code = f"FOLDER, TEXT = {folder!r}, {TEXT!r}\n{program}"
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return time.perf_counter() - start, json.loads(done.stdout.strip().splitlines()[-1])


def compare(folder: str, environment: dict[str, str], rounds: int) -> None:
    """Print a table of all contenders under one environment."""
    times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    vectors = {name: run(program, folder, environment)[1] for name, program in PROGRAMS.items()}
    for _ in range(rounds):
        for name, program in PROGRAMS.items():
            times[name].append(run(program, folder, environment)[0])
    best = min(times["regard"])
    for name, each in times.items():
        low, middle = min(each), statistics.median(each)
        pairs = zip(vectors[name], vectors["regard"], strict=True) if vectors[name] else []
        worst = max((abs(left - right) for left, right in pairs), default=0.0)
        print(f"  {name:22} min {low:5.2f} s   median {middle:5.2f} s", end="")
        print(f"   {low / best:4.2f} of regard's time   differs by {worst:.0e}")


def main() -> None:
    """Compare with cached bytecode and without."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    folder = str(find_checkpoint(MINILM).path("config.json").parent)
    common = os.environ | {"HF_HUB_OFFLINE": "1"}
    common.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as full, tempfile.TemporaryDirectory() as empty:
        print("bytecode cached:")
        compare(folder, common | {"PYTHONPYCACHEPREFIX": full}, rounds)
        print("bytecode neither read nor written:")
        without = {"PYTHONPYCACHEPREFIX": empty, "PYTHONDONTWRITEBYTECODE": "1"}
        compare(folder, common | without, rounds)


if __name__ == "__main__":
    main()
