"""The tokenizers of model families, and `AutoTokenizer`, which finds the one that a folder needs.

A family is a class like `BertTokenizer`: how its own files become a Rust tokenizer where a folder
has no tokenizer.json, which special tokens it expects, and one line in each table of `auto`.
"""

from regard.text.families.auto import FAMILIES, AutoTokenizer
from regard.text.families.byte_level import (
    BartTokenizer,
    BartTokenizerFast,
    GPT2Tokenizer,
    GPT2TokenizerFast,
    RobertaTokenizer,
    RobertaTokenizerFast,
)
from regard.text.families.llama import (
    LlamaTokenizer,
    LlamaTokenizerFast,
)
from regard.text.families.marian import MarianTokenizer, MarianTokenizerFast
from regard.text.families.mbart import (
    MBart50Tokenizer,
    MBart50TokenizerFast,
    MBartTokenizer,
    MBartTokenizerFast,
)
from regard.text.families.unigram import (
    CamembertTokenizer,
    CamembertTokenizerFast,
    MT5Tokenizer,
    MT5TokenizerFast,
    T5Tokenizer,
    T5TokenizerFast,
    XLMRobertaTokenizer,
    XLMRobertaTokenizerFast,
)
from regard.text.families.wordpiece import (
    BertTokenizer,
    BertTokenizerFast,
    DistilBertTokenizer,
    DistilBertTokenizerFast,
    ElectraTokenizer,
    ElectraTokenizerFast,
)

__all__ = [
    "FAMILIES",
    "AutoTokenizer",
    "BartTokenizer",
    "BartTokenizerFast",
    "BertTokenizer",
    "BertTokenizerFast",
    "CamembertTokenizer",
    "CamembertTokenizerFast",
    "DistilBertTokenizer",
    "DistilBertTokenizerFast",
    "ElectraTokenizer",
    "ElectraTokenizerFast",
    "GPT2Tokenizer",
    "GPT2TokenizerFast",
    "LlamaTokenizer",
    "LlamaTokenizerFast",
    "MBart50Tokenizer",
    "MBart50TokenizerFast",
    "MBartTokenizer",
    "MBartTokenizerFast",
    "MT5Tokenizer",
    "MT5TokenizerFast",
    "MarianTokenizer",
    "MarianTokenizerFast",
    "RobertaTokenizer",
    "RobertaTokenizerFast",
    "T5Tokenizer",
    "T5TokenizerFast",
    "XLMRobertaTokenizer",
    "XLMRobertaTokenizerFast",
]
