"""Tokenizers: text to the inputs of a model, and back."""

from regard.text.encoding import BatchEncoding, CharSpan, TokenSpan
from regard.text.families import AutoTokenizer, BertTokenizer, BertTokenizerFast
from regard.text.tokenizer import PreTrainedTokenizerFast, Tokenizer

__all__ = [
    "AutoTokenizer",
    "BatchEncoding",
    "BertTokenizer",
    "BertTokenizerFast",
    "CharSpan",
    "PreTrainedTokenizerFast",
    "TokenSpan",
    "Tokenizer",
]
