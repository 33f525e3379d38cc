"""`pipeline`: a task by its name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, overload

from regard.errors import nearest
from regard.models.generative import Generative
from regard.models.model import PreTrainedModel
from regard.models.vision import ImageClassification
from regard.pipelines.chat import ChatPipeline
from regard.pipelines.clustering import ClusteringPipeline, ParaphraseMiningPipeline
from regard.pipelines.extractive import ExtractiveSummarizationPipeline
from regard.pipelines.feature_extraction import FeatureExtractionPipeline
from regard.pipelines.fill_mask import FillMaskPipeline
from regard.pipelines.generating import GenerationPipeline
from regard.pipelines.image_classification import ImageClassificationPipeline
from regard.pipelines.multi_task import MultiTaskPipeline
from regard.pipelines.older import modern_options
from regard.pipelines.pipeline import Pipeline
from regard.pipelines.preparing import prepare_model
from regard.pipelines.question_answering import QuestionAnsweringPipeline
from regard.pipelines.ranking import RankingPipeline
from regard.pipelines.running import Runner
from regard.pipelines.search import SearchPipeline
from regard.pipelines.semantic_role_labeling import SemanticRoleLabelingPipeline
from regard.pipelines.sentence_similarity import SentenceSimilarityPipeline
from regard.pipelines.summarization import SummarizationPipeline
from regard.pipelines.text2text import Text2TextGenerationPipeline, TranslationPipeline
from regard.pipelines.text_classification import TextClassificationPipeline
from regard.pipelines.text_generation import TextGenerationPipeline
from regard.pipelines.token_classification import TokenClassificationPipeline
from regard.pipelines.zero_shot_classification import ZeroShotClassificationPipeline
from regard.text.tokenizer import Tokenizer

#: What does a task; ``translation_xx_to_yy`` besides, for any two languages.
TASKS: Mapping[str, type[Runner] | type[GenerationPipeline]] = {
    "chat": ChatPipeline,
    "feature-extraction": FeatureExtractionPipeline,
    "clustering": ClusteringPipeline,
    "fill-mask": FillMaskPipeline,
    "image-classification": ImageClassificationPipeline,
    "multi-task": MultiTaskPipeline,
    "paraphrase-mining": ParaphraseMiningPipeline,
    "question-answering": QuestionAnsweringPipeline,
    "ranking": RankingPipeline,
    "search": SearchPipeline,
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
    task: Literal["clustering"], model: _Model = None, **options: Any
) -> ClusteringPipeline: ...
@overload
def pipeline(
    task: Literal["paraphrase-mining"], model: _Model = None, **options: Any
) -> ParaphraseMiningPipeline: ...
@overload
def pipeline(task: Literal["search"], model: _Model = None, **options: Any) -> SearchPipeline: ...
@overload
def pipeline(
    task: Literal["image-classification"],
    model: str | Path | ImageClassification | None = None,
    **options: Any,
) -> ImageClassificationPipeline: ...
@overload
def pipeline(task: Literal["ranking"], model: _Model = None, **options: Any) -> RankingPipeline: ...
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
def pipeline(task: str, model: _Model = None, **options: Any) -> Runner | GenerationPipeline: ...


def pipeline(
    task: str, model: _Model = None, tokenizer: str | Tokenizer | None = None, **options: Any
) -> Runner | GenerationPipeline:
    """Build the pipeline for `task`.

    Args:
        task: A name in `TASKS` or `ALIASES`, or ``"translation_xx_to_yy"`` with two languages.
        model: A folder, a model name, or a model that is loaded already (then give its `tokenizer`
            too). The default is embedded and needs no network; for translation and
            text2text-generation there is none.
        tokenizer: The tokenizer of a loaded `model`; of a named one, another than its own.
        options: As in `Pipeline.from_pretrained`: ``device``, ``dtype``, ``revision``, ..., and
            what each call of the pipeline would else be told; for tasks that write text also those
            of ``model.generate``; for summarization ``mode``, ``"abstractive"`` or
            ``"extractive"``; for images ``image_processor``. With ``candidate_labels`` a
            text-classification needs no training for them. Options of older versions are taken
            where they mean something.

    Raises:
        ValueError: There is no such task; names the nearest one.
    """
    if task.startswith(_PAIR):
        options = {**TranslationPipeline.of_pair(task), **options}
        task = TranslationPipeline.task
    kind = find_task(task)
    options = modern_options(kind, options)
    kind = kind.fitting(model, options)
    if model is None or isinstance(model, str | Path):
        if tokenizer is not None:
            options["tokenizer"] = tokenizer
        return kind.from_pretrained(model, **options)
    prepare_model(model, options.pop("device", None), options.pop("precision", None), tokenizer)
    if issubclass(kind, ImageClassificationPipeline) and isinstance(model, ImageClassification):
        return kind(model, **options)
    if not isinstance(tokenizer, Tokenizer):
        raise TypeError("a model that is loaded already needs its tokenizer: pass tokenizer=...")
    if issubclass(kind, GenerationPipeline) and isinstance(model, Generative):
        return kind(model, tokenizer, **options)
    if issubclass(kind, Pipeline) and isinstance(model, kind.takes):
        return kind(model, tokenizer, **options)
    raise TypeError(f"{type(model).__name__} cannot do {task}: that takes another kind of model")


def find_task(name: str) -> type[Runner] | type[GenerationPipeline]:
    """Return the pipeline of a name in `TASKS` or `ALIASES`.

    Raises:
        ValueError: There is no such task; names the nearest one.
    """
    found = TASKS.get(ALIASES.get(name, name))
    if found is None:
        near = nearest(name, (*TASKS, *ALIASES))
        raise ValueError(f"unknown task {name!r}{near}; tasks: {', '.join(sorted(TASKS))}")
    return found
