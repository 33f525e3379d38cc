"""How well the cosine of two sentences tells how related people find them; nothing is trained.

    python recipes/similarity.py --data sick/validation.tsv

The data have a column for each sentence and one of scores, on any scale, under the names that
`regard train --task sentence-similarity` finds. Prints the correlations.
"""

import argparse
import sys
from pathlib import Path

from regard import pipeline
from regard.pipelines.sentence_encoder import normalized
from regard.training.metrics.ranking import Regression
from regard.training.splits import find_splits
from regard.training.tasks.text_regression import TextRegression


def main() -> None:
    """Measure, and show the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, type=Path, help="a file, or its folder")
    parser.add_argument("--model", help="another model of sentences")
    given = parser.parse_args()
    splits = find_splits(given.data)
    task = TextRegression()
    examples = task.named(task.read(splits.validation or splits.training, None))
    encoder = pipeline("sentence-similarity", given.model)
    left, right = (
        normalized(encoder.encode(examples.column(name))) for name in ("text", "text_pair")
    )
    cosines = (left * right).sum(-1)
    scores = examples.cast("label", float).column("label")
    found = Regression().compute(predictions=cosines, references=scores)
    sys.stdout.write(f"| data | pairs | pearsonr | spearmanr |\n{'| --- ' * 4}|\n")
    shown = f"{found['pearsonr']:.4f} | {found['spearmanr']:.4f}"
    sys.stdout.write(f"| {given.data} | {len(examples)} | {shown} |\n")


if __name__ == "__main__":
    main()
