"""`pipeline`: a task by its name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, overload

from regard.errors import nearest
from regard.models.encoder import EncoderModel
from regard.pipelines.feature_extraction import FeatureExtractionPipeline
from regard.pipelines.pipeline import Pipeline
from regard.pipelines.sentence_similarity import SentenceSimilarityPipeline
from regard.pipelines.zero_shot_classification import ZeroShotClassificationPipeline
from regard.text.tokenizer import Tokenizer

TASKS: Mapping[str, type[Pipeline]] = {
    "feature-extraction": FeatureExtractionPipeline,
    "sentence-similarity": SentenceSimilarityPipeline,
    "zero-shot-classification": ZeroShotClassificationPipeline,
}

_Model = str | Path | EncoderModel | None


@overload
def pipeline(
    task: Literal["feature-extraction"], model: _Model = None, **options: Any
) -> FeatureExtractionPipeline: ...
@overload
def pipeline(
    task: Literal["sentence-similarity"], model: _Model = None, **options: Any
) -> SentenceSimilarityPipeline: ...
@overload
def pipeline(
    task: Literal["zero-shot-classification"], model: _Model = None, **options: Any
) -> ZeroShotClassificationPipeline: ...


def pipeline(
    task: str, model: _Model = None, tokenizer: Tokenizer | None = None, **options: Any
) -> Pipeline:
    """Build the pipeline for `task`.

    Args:
        task: ``"feature-extraction"``, ``"sentence-similarity"`` or ``"zero-shot-classification"``.
        model: A folder, a model name, or a model that is loaded already (then give its `tokenizer`
            too). The default is embedded and needs no network.
        tokenizer: The tokenizer of a loaded `model`.
        options: As in `Pipeline.from_pretrained`: ``device``, ``dtype``, ``revision``, ...

    Raises:
        ValueError: There is no such task; names the nearest one.
    """
    if task not in TASKS:
        raise ValueError(
            f"unknown task {task!r}{nearest(task, TASKS)}; tasks: {', '.join(sorted(TASKS))}"
        )
    if not isinstance(model, EncoderModel):
        return TASKS[task].from_pretrained(model, **options)
    if tokenizer is None:
        raise TypeError("a model that is loaded already needs its tokenizer: pass tokenizer=...")
    return TASKS[task](model, tokenizer, **options)
