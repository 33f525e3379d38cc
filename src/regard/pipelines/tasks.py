"""`pipeline`: a task by its name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, overload

from regard.errors import nearest
from regard.models.generative import Generative
from regard.models.model import PreTrainedModel
from regard.pipelines.chat import ChatPipeline
from regard.pipelines.extractive import ExtractiveSummarizationPipeline
from regard.pipelines.feature_extraction import FeatureExtractionPipeline
from regard.pipelines.fill_mask import FillMaskPipeline
from regard.pipelines.generating import GenerationPipeline
from regard.pipelines.multi_task import MultiTaskPipeline
from regard.pipelines.pipeline import Pipeline
from regard.pipelines.question_answering import QuestionAnsweringPipeline
from regard.pipelines.semantic_role_labeling import SemanticRoleLabelingPipeline
from regard.pipelines.sentence_similarity import SentenceSimilarityPipeline
from regard.pipelines.summarization import SummarizationPipeline, choose_summarizer
from regard.pipelines.text2text import Text2TextGenerationPipeline, TranslationPipeline
from regard.pipelines.text_classification import TextClassificationPipeline
from regard.pipelines.text_generation import TextGenerationPipeline
from regard.pipelines.token_classification import TokenClassificationPipeline
from regard.pipelines.zero_shot_classification import ZeroShotClassificationPipeline
from regard.text.tokenizer import Tokenizer

#: What does a task; ``translation_xx_to_yy`` besides, for any two languages.
TASKS: Mapping[str, type[Pipeline] | type[GenerationPipeline]] = {
    "chat": ChatPipeline,
    "feature-extraction": FeatureExtractionPipeline,
    "fill-mask": FillMaskPipeline,
    "multi-task": MultiTaskPipeline,
    "question-answering": QuestionAnsweringPipeline,
    "semantic-role-labeling": SemanticRoleLabelingPipeline,
    "sentence-similarity": SentenceSimilarityPipeline,
    "summarization": SummarizationPipeline,
    "text-classification": TextClassificationPipeline,
    "text-generation": TextGenerationPipeline,
    "text2text-generation": Text2TextGenerationPipeline,
    "token-classification": TokenClassificationPipeline,
    "translation": TranslationPipeline,
    "zero-shot-classification": ZeroShotClassificationPipeline,
}
#: Other names of the field for the same tasks.
ALIASES: Mapping[str, str] = {
    "qa": "question-answering",
    "ner": "token-classification",
    "srl": "semantic-role-labeling",
    "sentiment-analysis": "text-classification",
}
_PAIR = "translation_"

_Model = str | Path | PreTrainedModel | Generative | None


@overload
def pipeline(task: Literal["chat"], model: _Model = None, **options: Any) -> ChatPipeline: ...
@overload
def pipeline(
    task: Literal["feature-extraction"], model: _Model = None, **options: Any
) -> FeatureExtractionPipeline: ...
@overload
def pipeline(
    task: Literal["fill-mask"], model: _Model = None, **options: Any
) -> FillMaskPipeline: ...
@overload
def pipeline(
    task: Literal["multi-task"], model: _Model = None, **options: Any
) -> MultiTaskPipeline: ...
@overload
def pipeline(
    task: Literal["question-answering", "qa"], model: _Model = None, **options: Any
) -> QuestionAnsweringPipeline: ...
@overload
def pipeline(
    task: Literal["semantic-role-labeling", "srl"], model: _Model = None, **options: Any
) -> SemanticRoleLabelingPipeline: ...
@overload
def pipeline(
    task: Literal["sentence-similarity"], model: _Model = None, **options: Any
) -> SentenceSimilarityPipeline: ...
@overload
def pipeline(
    task: Literal["summarization"], model: _Model = None, **options: Any
) -> SummarizationPipeline | ExtractiveSummarizationPipeline: ...
@overload
def pipeline(
    task: Literal["text-classification", "sentiment-analysis"],
    model: _Model = None,
    **options: Any,
) -> TextClassificationPipeline: ...
@overload
def pipeline(
    task: Literal["text-generation"], model: _Model = None, **options: Any
) -> TextGenerationPipeline: ...
@overload
def pipeline(
    task: Literal["text2text-generation"], model: _Model = None, **options: Any
) -> Text2TextGenerationPipeline: ...
@overload
def pipeline(
    task: Literal["token-classification", "ner"], model: _Model = None, **options: Any
) -> TokenClassificationPipeline: ...
@overload
def pipeline(
    task: Literal["translation"], model: _Model = None, **options: Any
) -> TranslationPipeline: ...
@overload
def pipeline(
    task: Literal["zero-shot-classification"], model: _Model = None, **options: Any
) -> ZeroShotClassificationPipeline: ...
@overload
def pipeline(task: str, model: _Model = None, **options: Any) -> Pipeline | GenerationPipeline: ...


def pipeline(
    task: str, model: _Model = None, tokenizer: Tokenizer | None = None, **options: Any
) -> Pipeline | GenerationPipeline:
    """Build the pipeline for `task`.

    Args:
        task: A name in `TASKS` or `ALIASES`, or ``"translation_xx_to_yy"`` with two languages.
        model: A folder, a model name, or a model that is loaded already (then give its `tokenizer`
            too). The default is embedded and needs no network; for translation and
            text2text-generation there is none.
        tokenizer: The tokenizer of a loaded `model`.
        options: As in `Pipeline.from_pretrained`: ``device``, ``dtype``, ``revision``, ...; for
            tasks that write text also those of ``model.generate``; for summarization ``mode``,
            ``"abstractive"`` or ``"extractive"``.

    Raises:
        ValueError: There is no such task; names the nearest one.
    """
    if task.startswith(_PAIR):
        options = {**TranslationPipeline.of_pair(task), **options}
        task = TranslationPipeline.task
    task = ALIASES.get(task, task)
    if task not in TASKS:
        near = nearest(task, (*TASKS, *ALIASES))
        raise ValueError(f"unknown task {task!r}{near}; tasks: {', '.join(sorted(TASKS))}")
    kind = TASKS[task]
    if kind is SummarizationPipeline:
        kind = choose_summarizer(model, options.pop("mode", None), options)
    if model is None or isinstance(model, str | Path):
        return kind.from_pretrained(model, **options)
    if tokenizer is None:
        raise TypeError("a model that is loaded already needs its tokenizer: pass tokenizer=...")
    if issubclass(kind, GenerationPipeline) and isinstance(model, Generative):
        return kind(model, tokenizer, **options)
    if issubclass(kind, Pipeline) and isinstance(model, kind.takes):
        return kind(model, tokenizer, **options)
    raise TypeError(f"{type(model).__name__} cannot do {task}: that takes another kind of model")
