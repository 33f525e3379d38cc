# The public names, as type checkers and editors see them; __init__.py loads them when used.

# configurations
# packed batches
from regard.batch import Layout as Layout
from regard.batch import TokenBatch as TokenBatch
from regard.config import Config as Config

# errors
from regard.errors import CheckpointError as CheckpointError
from regard.errors import CheckpointNotFoundError as CheckpointNotFoundError
from regard.errors import ConfigError as ConfigError
from regard.models.auto import AutoConfig as AutoConfig

# models, chosen by what a checkpoint says
from regard.models.auto import AutoModel as AutoModel
from regard.models.auto import AutoModelForMaskedLM as AutoModelForMaskedLM
from regard.models.auto import AutoModelForMultipleChoice as AutoModelForMultipleChoice
from regard.models.auto import (
    AutoModelForNextSentencePrediction as AutoModelForNextSentencePrediction,
)
from regard.models.auto import AutoModelForPreTraining as AutoModelForPreTraining
from regard.models.auto import AutoModelForQuestionAnswering as AutoModelForQuestionAnswering
from regard.models.auto import (
    AutoModelForSequenceClassification as AutoModelForSequenceClassification,
)
from regard.models.auto import AutoModelForTokenClassification as AutoModelForTokenClassification
from regard.models.bert import BertConfig as BertConfig

# models, by family
from regard.models.bert import BertForMaskedLM as BertForMaskedLM
from regard.models.bert import BertForMultipleChoice as BertForMultipleChoice
from regard.models.bert import BertForNextSentencePrediction as BertForNextSentencePrediction
from regard.models.bert import BertForPreTraining as BertForPreTraining
from regard.models.bert import BertForQuestionAnswering as BertForQuestionAnswering
from regard.models.bert import BertForSequenceClassification as BertForSequenceClassification
from regard.models.bert import BertForTokenClassification as BertForTokenClassification
from regard.models.bert import BertModel as BertModel
from regard.models.bert import BertPreTrainedModel as BertPreTrainedModel
from regard.models.model import PreTrainedModel as PreTrainedModel

# pipelines
from regard.pipelines.feature_extraction import (
    FeatureExtractionPipeline as FeatureExtractionPipeline,
)
from regard.pipelines.sentence_encoder import SentenceEncoder as SentenceEncoder
from regard.pipelines.sentence_similarity import (
    SentenceSimilarityPipeline as SentenceSimilarityPipeline,
)
from regard.pipelines.tasks import pipeline as pipeline
from regard.pipelines.zero_shot_classification import (
    ZeroShotClassificationPipeline as ZeroShotClassificationPipeline,
)
from regard.text.encoding import BatchEncoding as BatchEncoding

# tokenizers
from regard.text.families import AutoTokenizer as AutoTokenizer
from regard.text.families import BertTokenizer as BertTokenizer
from regard.text.families import BertTokenizerFast as BertTokenizerFast
from regard.text.tokenizer import PreTrainedTokenizerFast as PreTrainedTokenizerFast
from regard.text.tokenizer import Tokenizer as Tokenizer

PretrainedConfig = Config
__version__: str
