"""The models that come with regard: measure them, and put trained ones into the package.

    REGARD_DATA=FOLDER python recipes/shipped.py                      # the table of all scores
    REGARD_DATA=FOLDER python recipes/shipped.py --model regard/roles # of one
    REGARD_DATA=FOLDER python recipes/shipped.py --precision int8     # see regard.optimize
    python recipes/shipped.py --pack OUT --model regard/roles         # after regard train

FOLDER has the corpora under the names that `recipes/shipped/*.yaml` give them. What a model is
measured on is what its run did not train on: validation data, or the share that was held out, which
depends on the settings alone. A packed model has its weights in half precision; its card,
`src/regard/shipped/NAME/README.md`, is written by hand.
"""

import argparse
import dataclasses
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from safetensors.torch import load_file, save_file

from regard.adapters.adapter import attached, merge_and_unload
from regard.checkpoints.shipped import FOLDER, OWNER, SUMS, shipped_models
from regard.data.examples import Examples
from regard.pipelines.preparing import prepare_model
from regard.training.job import read_data
from regard.training.settings import Settings, read_settings
from regard.training.trained import Opened, computing, open_model

RECIPES = Path(__file__).resolve().parent / "shipped"
WEIGHTS = "adapter_model.safetensors"
FILES = ("adapter_config.json", WEIGHTS, "config.json")

#: What a task is measured on besides: data that nothing was chosen by.
BESIDES = {"text-classification": ["sst2/validation.tsv"]}
#: Data by the names that the cards use.
NAMES = {
    "sentence_polarity": "sentence polarity, a tenth held out",
    "sst2/validation.tsv": "SST-2 validation",
    "wnut17": "WNUT-17 validation",
    "uner_en": "UNER English, a tenth held out",
    "up_en": "Universal PropBank English, a tenth held out",
    "xquad/en.train.json": "XQuAD English, articles held out",
}
#: Metrics that are shown.
METRICS = {"question-answering": ("exact_match", "f1"), "text-classification": ("accuracy",)}


def main() -> None:
    """Measure, or pack."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("REGARD_DATA"), help="folder of corpora")
    parser.add_argument("--model", choices=[f"{OWNER}/{each.stem}" for each in RECIPES.iterdir()])
    parser.add_argument("--pack", metavar="OUT", type=Path, help="what regard train left")
    parser.add_argument("--precision", help="fp32, bf16, int8 or auto; default: as loaded")
    given = parser.parse_args()
    if given.pack is not None:
        if given.model is None:
            parser.error("say which model OUT is: --model regard/NAME")
        pack(given.pack, FOLDER / given.model.removeprefix(f"{OWNER}/"))
        return
    if given.data is None:
        parser.error("give --data, or set REGARD_DATA to the folder of corpora")
    sys.stdout.write("| model | data | examples | metric | score |\n" + "| --- " * 5 + "|\n")
    for name in [given.model] if given.model else shipped_models():
        for data, examples, metric, score in measure(name, Path(given.data), given.precision):
            sys.stdout.write(f"| `{name}` | {data} | {examples} | {metric} | {score:.4g} |\n")
            sys.stdout.flush()


def measure(
    name: str, data: Path, precision: str | None = None
) -> Iterator[tuple[str, int, str, float]]:
    """Yield data, its size, metric and score of all that a shipped model is measured on."""
    settings = RECIPES / f"{name.removeprefix(f'{OWNER}/')}.yaml"
    run = read_settings({"output_dir": "-"}, settings)
    for task, told in run.tasks.items():
        opened = open_model(name, task or None, {}, computing(64, use_cpu=True))
        if precision is not None:
            if attached(opened.model) is not None:
                merge_and_unload(opened.model)
            prepare_model(opened.model, None, precision, opened.processor)
        for place in [*told.places, *BESIDES.get(told.task.name, [])]:
            examples = held_out(opened, run, task, data, place)
            found = opened.evaluate(examples)
            usual = (opened.task.best(opened.model.config),)
            for metric in METRICS.get(told.task.name, usual):
                shown = f"{task}: {NAMES[place]}" if task else NAMES[place]
                yield shown, len(examples), metric, found[f"eval_{metric}"]


def held_out(opened: Opened, run: Settings, task: str, data: Path, place: str) -> Examples:
    """Return what a run did not train on of one corpus."""
    told = dataclasses.replace(run.tasks[task], data=str(data / place))
    if place not in run.tasks[task].places:
        told = dataclasses.replace(told, validation=told.data)
    # The labels of one corpus are but some of those that the task renames.
    given = (
        dataclasses.replace(opened.task, labels=None) if told.options.get("labels") else opened.task
    )
    found = read_data(given, told, run.arguments["seed"]).validation
    return opened.task.relabelled(found)


def pack(trained: Path, folder: Path) -> None:
    """Copy a trained adapter into the package, and write down the hashes of its files."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in FILES:
        shutil.copy(trained / file, folder / file)
    halves = {name: tensor.half() for name, tensor in load_file(trained / WEIGHTS).items()}
    save_file(halves, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / WEIGHTS).chmod(0o644)
    lines = [
        f"{hashlib.sha256((folder / file).read_bytes()).hexdigest()}  {file}\n" for file in FILES
    ]
    (folder / SUMS).write_text("".join(lines))


if __name__ == "__main__":
    main()
