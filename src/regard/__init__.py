"""Transformers for natural language processing, small enough to read.

    >>> import regard
    >>> similar = regard.pipeline("sentence-similarity")

The names below are loaded when they are first used, so ``import regard`` costs nothing.
"""

import difflib
import importlib
from typing import Any

__version__ = "0.1.0"

#: Public name -> module, or ``module:name`` where it has another name there.
_PUBLIC = {
    # configurations
    "AutoConfig": "regard.models.auto",
    "BertConfig": "regard.models.bert",
    "Config": "regard.config",
    "PretrainedConfig": "regard.config:Config",
    # tokenizers
    "AutoTokenizer": "regard.text.families",
    "BatchEncoding": "regard.text.encoding",
    "BertTokenizer": "regard.text.families",
    "BertTokenizerFast": "regard.text.families",
    "PreTrainedTokenizerFast": "regard.text.tokenizer",
    "Tokenizer": "regard.text.tokenizer",
    # models, chosen by what a checkpoint says
    "AutoModel": "regard.models.auto",
    "AutoModelForMaskedLM": "regard.models.auto",
    "AutoModelForMultipleChoice": "regard.models.auto",
    "AutoModelForNextSentencePrediction": "regard.models.auto",
    "AutoModelForPreTraining": "regard.models.auto",
    "AutoModelForQuestionAnswering": "regard.models.auto",
    "AutoModelForSequenceClassification": "regard.models.auto",
    "AutoModelForTokenClassification": "regard.models.auto",
    # models, by family
    "BertForMaskedLM": "regard.models.bert",
    "BertForMultipleChoice": "regard.models.bert",
    "BertForNextSentencePrediction": "regard.models.bert",
    "BertForPreTraining": "regard.models.bert",
    "BertForQuestionAnswering": "regard.models.bert",
    "BertForSequenceClassification": "regard.models.bert",
    "BertForTokenClassification": "regard.models.bert",
    "BertModel": "regard.models.bert",
    "BertPreTrainedModel": "regard.models.bert",
    "PreTrainedModel": "regard.models.model",
    # packed batches
    "Layout": "regard.batch",
    "TokenBatch": "regard.batch",
    # pipelines
    "FeatureExtractionPipeline": "regard.pipelines.feature_extraction",
    "SentenceEncoder": "regard.pipelines.sentence_encoder",
    "SentenceSimilarityPipeline": "regard.pipelines.sentence_similarity",
    "ZeroShotClassificationPipeline": "regard.pipelines.zero_shot_classification",
    "pipeline": "regard.pipelines.tasks",
    # errors
    "CheckpointError": "regard.errors",
    "CheckpointNotFoundError": "regard.errors",
    "ConfigError": "regard.errors",
}

__all__ = sorted([*_PUBLIC, "__version__"])  # pyright: ignore[reportUnsupportedDunderAll] - the stub beside this file lists them


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        close = difflib.get_close_matches(name, _PUBLIC, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise AttributeError(f"module 'regard' has no attribute {name!r}{hint}")
    module, _, attribute = _PUBLIC[name].partition(":")
    value = getattr(importlib.import_module(module), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
