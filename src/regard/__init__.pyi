# The public names, as type checkers and editors see them; __init__.py loads them when used.

from regard.adapters.adapter import add_adapter as add_adapter
from regard.adapters.adapter import delete_adapter as delete_adapter
from regard.adapters.adapter import disable_adapter as disable_adapter
from regard.adapters.adapter import merge_adapter as merge_adapter
from regard.adapters.adapter import merge_and_unload as merge_and_unload
from regard.adapters.adapter import set_adapter as set_adapter
from regard.adapters.adapter import unmerge_adapter as unmerge_adapter
from regard.adapters.config import LoraConfig as LoraConfig
from regard.adapters.files import load_adapter as load_adapter
from regard.adapters.files import save_adapters as save_adapters
from regard.attention.cache import Cache as Cache
from regard.batch import Layout as Layout
from regard.batch import TokenBatch as TokenBatch
from regard.config import Config as Config
from regard.data.collate import DataCollatorForMultipleChoice as DataCollatorForMultipleChoice
from regard.data.collate import DataCollatorForSeq2Seq as DataCollatorForSeq2Seq
from regard.data.collate import (
    DataCollatorForTokenClassification as DataCollatorForTokenClassification,
)
from regard.data.collate import DataCollatorWithPadding as DataCollatorWithPadding
from regard.data.collate import RandomCollator as RandomCollator
from regard.data.collate import default_data_collator as default_data_collator
from regard.data.conll import read_conll as read_conll
from regard.data.conllu import read_conllu as read_conllu
from regard.data.corruption import DataCollatorForDenoising as DataCollatorForDenoising
from regard.data.corruption import DataCollatorForSpanCorruption as DataCollatorForSpanCorruption
from regard.data.examples import Examples as Examples
from regard.data.json_files import read_json as read_json
from regard.data.json_files import read_jsonl as read_jsonl
from regard.data.labels import align_labels_to_tokens as align_labels_to_tokens
from regard.data.labels import encode_labels as encode_labels
from regard.data.labels import inside_labels as inside_labels
from regard.data.labels import tokenize_and_align_labels as tokenize_and_align_labels
from regard.data.loading import load_dataset as load_dataset
from regard.data.masking import DataCollatorForLanguageModeling as DataCollatorForLanguageModeling
from regard.data.masking import DataCollatorForWholeWordMask as DataCollatorForWholeWordMask
from regard.data.memory import as_examples as as_examples
from regard.data.parquet import read_parquet as read_parquet
from regard.data.plain_text import read_folder as read_folder
from regard.data.plain_text import read_parallel as read_parallel
from regard.data.plain_text import read_text as read_text
from regard.data.pretraining import group_texts as group_texts
from regard.data.pretraining import next_sentence_pairs as next_sentence_pairs
from regard.data.pretraining import pack_documents as pack_documents
from regard.data.sampling import batches_by_size as batches_by_size
from regard.data.sampling import batches_by_tokens as batches_by_tokens
from regard.data.sampling import group_by_length as group_by_length
from regard.data.squad import read_squad as read_squad
from regard.data.stream import ExampleStream as ExampleStream
from regard.data.tables import read_csv as read_csv
from regard.data.tables import read_tsv as read_tsv
from regard.data.windows import question_answering_windows as question_answering_windows
from regard.errors import CheckpointError as CheckpointError
from regard.errors import CheckpointNotFoundError as CheckpointNotFoundError
from regard.errors import ConfigError as ConfigError
from regard.errors import DataError as DataError
from regard.generation.batching import GenerationScheduler as GenerationScheduler
from regard.generation.config import GenerationConfig as GenerationConfig
from regard.generation.constrain import Choice as Choice
from regard.generation.constrain import Json as Json
from regard.generation.constrain import Regex as Regex
from regard.generation.engine import GenerationEngine as GenerationEngine
from regard.generation.outputs import GenerateOutput as GenerateOutput
from regard.generation.scoring import log_likelihood as log_likelihood
from regard.generation.scoring import perplexity as perplexity
from regard.generation.scoring import rank_choices as rank_choices
from regard.generation.stream import TextStream as TextStream
from regard.generation.streamers import TextIteratorStreamer as TextIteratorStreamer
from regard.generation.streamers import TextStreamer as TextStreamer
from regard.images.processor import AutoImageProcessor as AutoImageProcessor
from regard.images.processor import DeiTImageProcessor as DeiTImageProcessor
from regard.images.processor import ImageProcessor as ImageProcessor
from regard.models.auto import AutoConfig as AutoConfig
from regard.models.auto import AutoModel as AutoModel
from regard.models.auto import AutoModelForCausalLM as AutoModelForCausalLM
from regard.models.auto import AutoModelForImageClassification as AutoModelForImageClassification
from regard.models.auto import AutoModelForMaskedImageModeling as AutoModelForMaskedImageModeling
from regard.models.auto import AutoModelForMaskedLM as AutoModelForMaskedLM
from regard.models.auto import AutoModelForMultipleChoice as AutoModelForMultipleChoice
from regard.models.auto import (
    AutoModelForNextSentencePrediction as AutoModelForNextSentencePrediction,
)
from regard.models.auto import AutoModelForPreTraining as AutoModelForPreTraining
from regard.models.auto import AutoModelForQuestionAnswering as AutoModelForQuestionAnswering
from regard.models.auto import AutoModelForSeq2SeqLM as AutoModelForSeq2SeqLM
from regard.models.auto import (
    AutoModelForSequenceClassification as AutoModelForSequenceClassification,
)
from regard.models.auto import AutoModelForTokenClassification as AutoModelForTokenClassification
from regard.models.bart import BartConfig as BartConfig
from regard.models.bart import BartForCausalLM as BartForCausalLM
from regard.models.bart import BartForConditionalGeneration as BartForConditionalGeneration
from regard.models.bart import BartForQuestionAnswering as BartForQuestionAnswering
from regard.models.bart import BartForSequenceClassification as BartForSequenceClassification
from regard.models.bart import BartModel as BartModel
from regard.models.bart import BartPreTrainedModel as BartPreTrainedModel
from regard.models.bert import BertConfig as BertConfig
from regard.models.bert import BertForMaskedLM as BertForMaskedLM
from regard.models.bert import BertForMultipleChoice as BertForMultipleChoice
from regard.models.bert import BertForNextSentencePrediction as BertForNextSentencePrediction
from regard.models.bert import BertForPreTraining as BertForPreTraining
from regard.models.bert import BertForQuestionAnswering as BertForQuestionAnswering
from regard.models.bert import BertForSequenceClassification as BertForSequenceClassification
from regard.models.bert import BertForTokenClassification as BertForTokenClassification
from regard.models.bert import BertLMHeadModel as BertLMHeadModel
from regard.models.bert import BertModel as BertModel
from regard.models.bert import BertPreTrainedModel as BertPreTrainedModel
from regard.models.camembert import CamembertConfig as CamembertConfig
from regard.models.camembert import CamembertForCausalLM as CamembertForCausalLM
from regard.models.camembert import CamembertForMaskedLM as CamembertForMaskedLM
from regard.models.camembert import CamembertForMultipleChoice as CamembertForMultipleChoice
from regard.models.camembert import CamembertForQuestionAnswering as CamembertForQuestionAnswering
from regard.models.camembert import (
    CamembertForSequenceClassification as CamembertForSequenceClassification,
)
from regard.models.camembert import (
    CamembertForTokenClassification as CamembertForTokenClassification,
)
from regard.models.camembert import CamembertModel as CamembertModel
from regard.models.camembert import CamembertPreTrainedModel as CamembertPreTrainedModel
from regard.models.deit import DeiTConfig as DeiTConfig
from regard.models.deit import DeiTForImageClassification as DeiTForImageClassification
from regard.models.deit import (
    DeiTForImageClassificationWithTeacher as DeiTForImageClassificationWithTeacher,
)
from regard.models.deit import DeiTForMaskedImageModeling as DeiTForMaskedImageModeling
from regard.models.deit import DeiTModel as DeiTModel
from regard.models.deit import DeiTPreTrainedModel as DeiTPreTrainedModel
from regard.models.distilbert import DistilBertConfig as DistilBertConfig
from regard.models.distilbert import DistilBertForMaskedLM as DistilBertForMaskedLM
from regard.models.distilbert import DistilBertForMultipleChoice as DistilBertForMultipleChoice
from regard.models.distilbert import (
    DistilBertForQuestionAnswering as DistilBertForQuestionAnswering,
)
from regard.models.distilbert import (
    DistilBertForSequenceClassification as DistilBertForSequenceClassification,
)
from regard.models.distilbert import (
    DistilBertForTokenClassification as DistilBertForTokenClassification,
)
from regard.models.distilbert import DistilBertModel as DistilBertModel
from regard.models.distilbert import DistilBertPreTrainedModel as DistilBertPreTrainedModel
from regard.models.electra import ElectraConfig as ElectraConfig
from regard.models.electra import ElectraForCausalLM as ElectraForCausalLM
from regard.models.electra import ElectraForMaskedLM as ElectraForMaskedLM
from regard.models.electra import ElectraForMultipleChoice as ElectraForMultipleChoice
from regard.models.electra import ElectraForPreTraining as ElectraForPreTraining
from regard.models.electra import ElectraForQuestionAnswering as ElectraForQuestionAnswering
from regard.models.electra import (
    ElectraForSequenceClassification as ElectraForSequenceClassification,
)
from regard.models.electra import ElectraForTokenClassification as ElectraForTokenClassification
from regard.models.electra import ElectraModel as ElectraModel
from regard.models.electra import ElectraPreTrainedModel as ElectraPreTrainedModel
from regard.models.electra_pretraining import (
    ElectraForJointPreTraining as ElectraForJointPreTraining,
)
from regard.models.extension import extend_embeddings as extend_embeddings
from regard.models.gpt2 import GPT2Config as GPT2Config
from regard.models.gpt2 import GPT2DoubleHeadsModel as GPT2DoubleHeadsModel
from regard.models.gpt2 import GPT2ForQuestionAnswering as GPT2ForQuestionAnswering
from regard.models.gpt2 import GPT2ForSequenceClassification as GPT2ForSequenceClassification
from regard.models.gpt2 import GPT2ForTokenClassification as GPT2ForTokenClassification
from regard.models.gpt2 import GPT2LMHeadModel as GPT2LMHeadModel
from regard.models.gpt2 import GPT2Model as GPT2Model
from regard.models.gpt2 import GPT2PreTrainedModel as GPT2PreTrainedModel
from regard.models.llama import LlamaConfig as LlamaConfig
from regard.models.llama import LlamaForCausalLM as LlamaForCausalLM
from regard.models.llama import LlamaForQuestionAnswering as LlamaForQuestionAnswering
from regard.models.llama import LlamaForSequenceClassification as LlamaForSequenceClassification
from regard.models.llama import LlamaForTokenClassification as LlamaForTokenClassification
from regard.models.llama import LlamaModel as LlamaModel
from regard.models.llama import LlamaPreTrainedModel as LlamaPreTrainedModel
from regard.models.losses import CrossEntropy as CrossEntropy
from regard.models.marian import MarianConfig as MarianConfig
from regard.models.marian import MarianForCausalLM as MarianForCausalLM
from regard.models.marian import MarianModel as MarianModel
from regard.models.marian import MarianMTModel as MarianMTModel
from regard.models.marian import MarianPreTrainedModel as MarianPreTrainedModel
from regard.models.mbart import MBartConfig as MBartConfig
from regard.models.mbart import MBartForCausalLM as MBartForCausalLM
from regard.models.mbart import MBartForConditionalGeneration as MBartForConditionalGeneration
from regard.models.mbart import MBartForQuestionAnswering as MBartForQuestionAnswering
from regard.models.mbart import MBartForSequenceClassification as MBartForSequenceClassification
from regard.models.mbart import MBartModel as MBartModel
from regard.models.mbart import MBartPreTrainedModel as MBartPreTrainedModel
from regard.models.mistral import MistralConfig as MistralConfig
from regard.models.mistral import MistralForCausalLM as MistralForCausalLM
from regard.models.mistral import MistralForQuestionAnswering as MistralForQuestionAnswering
from regard.models.mistral import (
    MistralForSequenceClassification as MistralForSequenceClassification,
)
from regard.models.mistral import MistralForTokenClassification as MistralForTokenClassification
from regard.models.mistral import MistralModel as MistralModel
from regard.models.mistral import MistralPreTrainedModel as MistralPreTrainedModel
from regard.models.model import PreTrainedModel as PreTrainedModel
from regard.models.modernbert import ModernBertConfig as ModernBertConfig
from regard.models.modernbert import ModernBertForMaskedLM as ModernBertForMaskedLM
from regard.models.modernbert import ModernBertForMultipleChoice as ModernBertForMultipleChoice
from regard.models.modernbert import (
    ModernBertForQuestionAnswering as ModernBertForQuestionAnswering,
)
from regard.models.modernbert import (
    ModernBertForSequenceClassification as ModernBertForSequenceClassification,
)
from regard.models.modernbert import (
    ModernBertForTokenClassification as ModernBertForTokenClassification,
)
from regard.models.modernbert import ModernBertModel as ModernBertModel
from regard.models.modernbert import ModernBertPreTrainedModel as ModernBertPreTrainedModel
from regard.models.mt5 import MT5Config as MT5Config
from regard.models.mt5 import MT5EncoderModel as MT5EncoderModel
from regard.models.mt5 import MT5ForConditionalGeneration as MT5ForConditionalGeneration
from regard.models.mt5 import MT5ForQuestionAnswering as MT5ForQuestionAnswering
from regard.models.mt5 import MT5ForSequenceClassification as MT5ForSequenceClassification
from regard.models.mt5 import MT5ForTokenClassification as MT5ForTokenClassification
from regard.models.mt5 import MT5Model as MT5Model
from regard.models.mt5 import MT5PreTrainedModel as MT5PreTrainedModel
from regard.models.multitask import MultiTaskModel as MultiTaskModel
from regard.models.qwen2 import Qwen2Config as Qwen2Config
from regard.models.qwen2 import Qwen2ForCausalLM as Qwen2ForCausalLM
from regard.models.qwen2 import Qwen2ForQuestionAnswering as Qwen2ForQuestionAnswering
from regard.models.qwen2 import Qwen2ForSequenceClassification as Qwen2ForSequenceClassification
from regard.models.qwen2 import Qwen2ForTokenClassification as Qwen2ForTokenClassification
from regard.models.qwen2 import Qwen2Model as Qwen2Model
from regard.models.qwen2 import Qwen2PreTrainedModel as Qwen2PreTrainedModel
from regard.models.qwen3 import Qwen3Config as Qwen3Config
from regard.models.qwen3 import Qwen3ForCausalLM as Qwen3ForCausalLM
from regard.models.qwen3 import Qwen3ForQuestionAnswering as Qwen3ForQuestionAnswering
from regard.models.qwen3 import Qwen3ForSequenceClassification as Qwen3ForSequenceClassification
from regard.models.qwen3 import Qwen3ForTokenClassification as Qwen3ForTokenClassification
from regard.models.qwen3 import Qwen3Model as Qwen3Model
from regard.models.qwen3 import Qwen3PreTrainedModel as Qwen3PreTrainedModel
from regard.models.roberta import RobertaConfig as RobertaConfig
from regard.models.roberta import RobertaForCausalLM as RobertaForCausalLM
from regard.models.roberta import RobertaForMaskedLM as RobertaForMaskedLM
from regard.models.roberta import RobertaForMultipleChoice as RobertaForMultipleChoice
from regard.models.roberta import RobertaForQuestionAnswering as RobertaForQuestionAnswering
from regard.models.roberta import (
    RobertaForSequenceClassification as RobertaForSequenceClassification,
)
from regard.models.roberta import RobertaForTokenClassification as RobertaForTokenClassification
from regard.models.roberta import RobertaModel as RobertaModel
from regard.models.roberta import RobertaPreTrainedModel as RobertaPreTrainedModel
from regard.models.summary import ModelSummary as ModelSummary
from regard.models.summary import model_summary as model_summary
from regard.models.t5 import T5Config as T5Config
from regard.models.t5 import T5EncoderModel as T5EncoderModel
from regard.models.t5 import T5ForConditionalGeneration as T5ForConditionalGeneration
from regard.models.t5 import T5ForQuestionAnswering as T5ForQuestionAnswering
from regard.models.t5 import T5ForSequenceClassification as T5ForSequenceClassification
from regard.models.t5 import T5ForTokenClassification as T5ForTokenClassification
from regard.models.t5 import T5Model as T5Model
from regard.models.t5 import T5PreTrainedModel as T5PreTrainedModel
from regard.models.transformer import Transformer as Transformer
from regard.models.transformer import TransformerConfig as TransformerConfig
from regard.models.transformer import TransformerModel as TransformerModel
from regard.models.transformer import TransformerPreTrainedModel as TransformerPreTrainedModel
from regard.models.vit import ViTConfig as ViTConfig
from regard.models.vit import ViTForImageClassification as ViTForImageClassification
from regard.models.vit import ViTForMaskedImageModeling as ViTForMaskedImageModeling
from regard.models.vit import ViTModel as ViTModel
from regard.models.vit import ViTPreTrainedModel as ViTPreTrainedModel
from regard.models.xlm_roberta import XLMRobertaConfig as XLMRobertaConfig
from regard.models.xlm_roberta import XLMRobertaForCausalLM as XLMRobertaForCausalLM
from regard.models.xlm_roberta import XLMRobertaForMaskedLM as XLMRobertaForMaskedLM
from regard.models.xlm_roberta import XLMRobertaForMultipleChoice as XLMRobertaForMultipleChoice
from regard.models.xlm_roberta import (
    XLMRobertaForQuestionAnswering as XLMRobertaForQuestionAnswering,
)
from regard.models.xlm_roberta import (
    XLMRobertaForSequenceClassification as XLMRobertaForSequenceClassification,
)
from regard.models.xlm_roberta import (
    XLMRobertaForTokenClassification as XLMRobertaForTokenClassification,
)
from regard.models.xlm_roberta import XLMRobertaModel as XLMRobertaModel
from regard.models.xlm_roberta import XLMRobertaPreTrainedModel as XLMRobertaPreTrainedModel
from regard.pipelines.chat import ChatPipeline as ChatPipeline
from regard.pipelines.chat import Conversation as Conversation
from regard.pipelines.clustering import ClusteringPipeline as ClusteringPipeline
from regard.pipelines.clustering import ParaphraseMiningPipeline as ParaphraseMiningPipeline
from regard.pipelines.extractive import (
    ExtractiveSummarizationPipeline as ExtractiveSummarizationPipeline,
)
from regard.pipelines.feature_extraction import (
    FeatureExtractionPipeline as FeatureExtractionPipeline,
)
from regard.pipelines.fill_mask import FillMaskPipeline as FillMaskPipeline
from regard.pipelines.image_classification import (
    ImageClassificationPipeline as ImageClassificationPipeline,
)
from regard.pipelines.job import Failure as Failure
from regard.pipelines.multi_task import MultiTaskPipeline as MultiTaskPipeline
from regard.pipelines.question_answering import (
    QuestionAnsweringPipeline as QuestionAnsweringPipeline,
)
from regard.pipelines.ranking import RankingPipeline as RankingPipeline
from regard.pipelines.search import SearchIndex as SearchIndex
from regard.pipelines.search import SearchPipeline as SearchPipeline
from regard.pipelines.semantic_role_labeling import (
    SemanticRoleLabelingPipeline as SemanticRoleLabelingPipeline,
)
from regard.pipelines.sentence_encoder import SentenceEncoder as SentenceEncoder
from regard.pipelines.sentence_similarity import (
    SentenceSimilarityPipeline as SentenceSimilarityPipeline,
)
from regard.pipelines.summarization import SummarizationPipeline as SummarizationPipeline
from regard.pipelines.tasks import pipeline as pipeline
from regard.pipelines.text2text import Text2TextGenerationPipeline as Text2TextGenerationPipeline
from regard.pipelines.text2text import TranslationPipeline as TranslationPipeline
from regard.pipelines.text_classification import (
    TextClassificationPipeline as TextClassificationPipeline,
)
from regard.pipelines.text_generation import TextGenerationPipeline as TextGenerationPipeline
from regard.pipelines.token_classification import (
    TokenClassificationPipeline as TokenClassificationPipeline,
)
from regard.pipelines.zero_shot_classification import (
    ZeroShotClassificationPipeline as ZeroShotClassificationPipeline,
)
from regard.runtime.optimize import deoptimize as deoptimize
from regard.runtime.optimize import optimize as optimize
from regard.runtime.optimize import precision_of as precision_of
from regard.selection.recommend import recommend as recommend
from regard.selection.survey import Recommendation as Recommendation
from regard.text.encoding import BatchEncoding as BatchEncoding
from regard.text.extend import Extension as Extension
from regard.text.extend import extend_tokenizer as extend_tokenizer
from regard.text.families import AutoTokenizer as AutoTokenizer
from regard.text.families import BartTokenizer as BartTokenizer
from regard.text.families import BartTokenizerFast as BartTokenizerFast
from regard.text.families import BertTokenizer as BertTokenizer
from regard.text.families import BertTokenizerFast as BertTokenizerFast
from regard.text.families import CamembertTokenizer as CamembertTokenizer
from regard.text.families import CamembertTokenizerFast as CamembertTokenizerFast
from regard.text.families import DistilBertTokenizer as DistilBertTokenizer
from regard.text.families import DistilBertTokenizerFast as DistilBertTokenizerFast
from regard.text.families import ElectraTokenizer as ElectraTokenizer
from regard.text.families import ElectraTokenizerFast as ElectraTokenizerFast
from regard.text.families import GPT2Tokenizer as GPT2Tokenizer
from regard.text.families import GPT2TokenizerFast as GPT2TokenizerFast
from regard.text.families import LlamaTokenizer as LlamaTokenizer
from regard.text.families import LlamaTokenizerFast as LlamaTokenizerFast
from regard.text.families import MarianTokenizer as MarianTokenizer
from regard.text.families import MarianTokenizerFast as MarianTokenizerFast
from regard.text.families import MBart50Tokenizer as MBart50Tokenizer
from regard.text.families import MBart50TokenizerFast as MBart50TokenizerFast
from regard.text.families import MBartTokenizer as MBartTokenizer
from regard.text.families import MBartTokenizerFast as MBartTokenizerFast
from regard.text.families import MT5Tokenizer as MT5Tokenizer
from regard.text.families import MT5TokenizerFast as MT5TokenizerFast
from regard.text.families import RobertaTokenizer as RobertaTokenizer
from regard.text.families import RobertaTokenizerFast as RobertaTokenizerFast
from regard.text.families import T5Tokenizer as T5Tokenizer
from regard.text.families import T5TokenizerFast as T5TokenizerFast
from regard.text.families import XLMRobertaTokenizer as XLMRobertaTokenizer
from regard.text.families import XLMRobertaTokenizerFast as XLMRobertaTokenizerFast
from regard.text.learn import train_tokenizer as train_tokenizer
from regard.text.tokenizer import PreTrainedTokenizerFast as PreTrainedTokenizerFast
from regard.text.tokenizer import Tokenizer as Tokenizer
from regard.training.arguments import TrainingArguments as TrainingArguments
from regard.training.callbacks import EarlyStoppingCallback as EarlyStoppingCallback
from regard.training.callbacks import TrainerCallback as TrainerCallback
from regard.training.callbacks import TrainerControl as TrainerControl
from regard.training.callbacks import TrainerState as TrainerState
from regard.training.distillation import Distillation as Distillation
from regard.training.distillation import DistillationTrainer as DistillationTrainer
from regard.training.evaluation import EvalPrediction as EvalPrediction
from regard.training.evaluation import PredictionOutput as PredictionOutput
from regard.training.freezing import freeze as freeze
from regard.training.metrics.loading import load_metric as load_metric
from regard.training.metrics.loading import metrics_for as metrics_for
from regard.training.metrics.metric import Metric as Metric
from regard.training.multitask import MultiTaskTrainer as MultiTaskTrainer
from regard.training.report import ReportCallback as ReportCallback
from regard.training.reporting import ProgressCallback as ProgressCallback
from regard.training.reporting import TensorBoardCallback as TensorBoardCallback
from regard.training.schedules import (
    get_constant_schedule_with_warmup as get_constant_schedule_with_warmup,
)
from regard.training.schedules import (
    get_cosine_schedule_with_warmup as get_cosine_schedule_with_warmup,
)
from regard.training.schedules import (
    get_linear_schedule_with_warmup as get_linear_schedule_with_warmup,
)
from regard.training.schedules import get_scheduler as get_scheduler
from regard.training.trainer import Trainer as Trainer
from regard.training.trainer import TrainOutput as TrainOutput

ViTImageProcessor = ImageProcessor
PretrainedConfig = Config
__version__: str
