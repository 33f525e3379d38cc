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
    "BartConfig": "regard.models.bart",
    "BertConfig": "regard.models.bert",
    "CamembertConfig": "regard.models.camembert",
    "Config": "regard.config",
    "DeiTConfig": "regard.models.deit",
    "DistilBertConfig": "regard.models.distilbert",
    "ElectraConfig": "regard.models.electra",
    "GPT2Config": "regard.models.gpt2",
    "LlamaConfig": "regard.models.llama",
    "MBartConfig": "regard.models.mbart",
    "MarianConfig": "regard.models.marian",
    "MistralConfig": "regard.models.mistral",
    "PretrainedConfig": "regard.config:Config",
    "Qwen2Config": "regard.models.qwen2",
    "Qwen3Config": "regard.models.qwen3",
    "RobertaConfig": "regard.models.roberta",
    "TransformerConfig": "regard.models.transformer",
    "ViTConfig": "regard.models.vit",
    "XLMRobertaConfig": "regard.models.xlm_roberta",
    # tokenizers
    "AutoTokenizer": "regard.text.families",
    "BartTokenizer": "regard.text.families",
    "BartTokenizerFast": "regard.text.families",
    "BatchEncoding": "regard.text.encoding",
    "BertTokenizer": "regard.text.families",
    "BertTokenizerFast": "regard.text.families",
    "CamembertTokenizer": "regard.text.families",
    "CamembertTokenizerFast": "regard.text.families",
    "DistilBertTokenizer": "regard.text.families",
    "DistilBertTokenizerFast": "regard.text.families",
    "ElectraTokenizer": "regard.text.families",
    "ElectraTokenizerFast": "regard.text.families",
    "GPT2Tokenizer": "regard.text.families",
    "GPT2TokenizerFast": "regard.text.families",
    "LlamaTokenizer": "regard.text.families",
    "LlamaTokenizerFast": "regard.text.families",
    "PreTrainedTokenizerFast": "regard.text.tokenizer",
    "RobertaTokenizer": "regard.text.families",
    "RobertaTokenizerFast": "regard.text.families",
    "T5Tokenizer": "regard.text.families",
    "T5TokenizerFast": "regard.text.families",
    "Tokenizer": "regard.text.tokenizer",
    "XLMRobertaTokenizer": "regard.text.families",
    "XLMRobertaTokenizerFast": "regard.text.families",
    # image processors
    "AutoImageProcessor": "regard.images.processor",
    "DeiTImageProcessor": "regard.images.processor",
    "ImageProcessor": "regard.images.processor",
    "ViTImageProcessor": "regard.images.processor:ImageProcessor",
    # models, chosen by what a checkpoint says
    "AutoModel": "regard.models.auto",
    "AutoModelForCausalLM": "regard.models.auto",
    "AutoModelForImageClassification": "regard.models.auto",
    "AutoModelForMaskedLM": "regard.models.auto",
    "AutoModelForMultipleChoice": "regard.models.auto",
    "AutoModelForNextSentencePrediction": "regard.models.auto",
    "AutoModelForPreTraining": "regard.models.auto",
    "AutoModelForQuestionAnswering": "regard.models.auto",
    "AutoModelForSeq2SeqLM": "regard.models.auto",
    "AutoModelForSequenceClassification": "regard.models.auto",
    "AutoModelForTokenClassification": "regard.models.auto",
    # models, by family
    "BartForCausalLM": "regard.models.bart",
    "BartForConditionalGeneration": "regard.models.bart",
    "BartForQuestionAnswering": "regard.models.bart",
    "BartForSequenceClassification": "regard.models.bart",
    "BartModel": "regard.models.bart",
    "BartPreTrainedModel": "regard.models.bart",
    "BertForMaskedLM": "regard.models.bert",
    "BertForMultipleChoice": "regard.models.bert",
    "BertForNextSentencePrediction": "regard.models.bert",
    "BertForPreTraining": "regard.models.bert",
    "BertForQuestionAnswering": "regard.models.bert",
    "BertForSequenceClassification": "regard.models.bert",
    "BertForTokenClassification": "regard.models.bert",
    "BertModel": "regard.models.bert",
    "BertPreTrainedModel": "regard.models.bert",
    "CamembertForMaskedLM": "regard.models.camembert",
    "CamembertForMultipleChoice": "regard.models.camembert",
    "CamembertForQuestionAnswering": "regard.models.camembert",
    "CamembertForSequenceClassification": "regard.models.camembert",
    "CamembertForTokenClassification": "regard.models.camembert",
    "CamembertModel": "regard.models.camembert",
    "CamembertPreTrainedModel": "regard.models.camembert",
    "DeiTForImageClassification": "regard.models.deit",
    "DeiTForImageClassificationWithTeacher": "regard.models.deit",
    "DeiTModel": "regard.models.deit",
    "DeiTPreTrainedModel": "regard.models.deit",
    "DistilBertForMaskedLM": "regard.models.distilbert",
    "DistilBertForMultipleChoice": "regard.models.distilbert",
    "DistilBertForQuestionAnswering": "regard.models.distilbert",
    "DistilBertForSequenceClassification": "regard.models.distilbert",
    "DistilBertForTokenClassification": "regard.models.distilbert",
    "DistilBertModel": "regard.models.distilbert",
    "DistilBertPreTrainedModel": "regard.models.distilbert",
    "ElectraForMaskedLM": "regard.models.electra",
    "ElectraForMultipleChoice": "regard.models.electra",
    "ElectraForPreTraining": "regard.models.electra",
    "ElectraForQuestionAnswering": "regard.models.electra",
    "ElectraForSequenceClassification": "regard.models.electra",
    "ElectraForTokenClassification": "regard.models.electra",
    "ElectraModel": "regard.models.electra",
    "ElectraPreTrainedModel": "regard.models.electra",
    "GPT2ForQuestionAnswering": "regard.models.gpt2",
    "GPT2ForSequenceClassification": "regard.models.gpt2",
    "GPT2ForTokenClassification": "regard.models.gpt2",
    "GPT2LMHeadModel": "regard.models.gpt2",
    "GPT2Model": "regard.models.gpt2",
    "GPT2PreTrainedModel": "regard.models.gpt2",
    "LlamaForCausalLM": "regard.models.llama",
    "LlamaForQuestionAnswering": "regard.models.llama",
    "LlamaForSequenceClassification": "regard.models.llama",
    "LlamaForTokenClassification": "regard.models.llama",
    "LlamaModel": "regard.models.llama",
    "LlamaPreTrainedModel": "regard.models.llama",
    "MBartForCausalLM": "regard.models.mbart",
    "MBartForConditionalGeneration": "regard.models.mbart",
    "MBartForQuestionAnswering": "regard.models.mbart",
    "MBartForSequenceClassification": "regard.models.mbart",
    "MBartModel": "regard.models.mbart",
    "MBartPreTrainedModel": "regard.models.mbart",
    "MarianForCausalLM": "regard.models.marian",
    "MarianMTModel": "regard.models.marian",
    "MarianModel": "regard.models.marian",
    "MarianPreTrainedModel": "regard.models.marian",
    "MistralForCausalLM": "regard.models.mistral",
    "MistralForQuestionAnswering": "regard.models.mistral",
    "MistralForSequenceClassification": "regard.models.mistral",
    "MistralForTokenClassification": "regard.models.mistral",
    "MistralModel": "regard.models.mistral",
    "MistralPreTrainedModel": "regard.models.mistral",
    "PreTrainedModel": "regard.models.model",
    "Qwen2ForCausalLM": "regard.models.qwen2",
    "Qwen2ForQuestionAnswering": "regard.models.qwen2",
    "Qwen2ForSequenceClassification": "regard.models.qwen2",
    "Qwen2ForTokenClassification": "regard.models.qwen2",
    "Qwen2Model": "regard.models.qwen2",
    "Qwen2PreTrainedModel": "regard.models.qwen2",
    "Qwen3ForCausalLM": "regard.models.qwen3",
    "Qwen3ForQuestionAnswering": "regard.models.qwen3",
    "Qwen3ForSequenceClassification": "regard.models.qwen3",
    "Qwen3ForTokenClassification": "regard.models.qwen3",
    "Qwen3Model": "regard.models.qwen3",
    "Qwen3PreTrainedModel": "regard.models.qwen3",
    "RobertaForMaskedLM": "regard.models.roberta",
    "RobertaForMultipleChoice": "regard.models.roberta",
    "RobertaForQuestionAnswering": "regard.models.roberta",
    "RobertaForSequenceClassification": "regard.models.roberta",
    "RobertaForTokenClassification": "regard.models.roberta",
    "RobertaModel": "regard.models.roberta",
    "RobertaPreTrainedModel": "regard.models.roberta",
    "Transformer": "regard.models.transformer",
    "TransformerModel": "regard.models.transformer",
    "TransformerPreTrainedModel": "regard.models.transformer",
    "ViTForImageClassification": "regard.models.vit",
    "ViTModel": "regard.models.vit",
    "ViTPreTrainedModel": "regard.models.vit",
    "XLMRobertaForMaskedLM": "regard.models.xlm_roberta",
    "XLMRobertaForMultipleChoice": "regard.models.xlm_roberta",
    "XLMRobertaForQuestionAnswering": "regard.models.xlm_roberta",
    "XLMRobertaForSequenceClassification": "regard.models.xlm_roberta",
    "XLMRobertaForTokenClassification": "regard.models.xlm_roberta",
    "XLMRobertaModel": "regard.models.xlm_roberta",
    "XLMRobertaPreTrainedModel": "regard.models.xlm_roberta",
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
