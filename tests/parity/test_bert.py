"""Every BERT head gives the reference's outputs, losses and gradients, from the files it writes."""

from typing import ClassVar

import transformers

import regard

from .reference import Parity, assert_same_gradients, assert_same_outputs


class TestBert(Parity):
    prefix = "Bert"
    tasks = (
        "Model",
        "ForMaskedLM",
        "LMHeadModel",
        "ForPreTraining",
        "ForNextSentencePrediction",
        "ForSequenceClassification",
        "ForTokenClassification",
        "ForQuestionAnswering",
        "ForMultipleChoice",
    )
    sizes: ClassVar = {"vocab_size": 99, "intermediate_size": 40, "max_position_embeddings": 20}
    rates = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout")
    #: Small, wide, odd; every activation that BERTs are trained with; tied and not.
    configs: ClassVar = {
        "small": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4},
        "one layer, relu, untied": {
            "hidden_size": 24,
            "num_hidden_layers": 1,
            "num_attention_heads": 3,
            "hidden_act": "relu",
            "tie_word_embeddings": False,
        },
        "deep, tanh gelu, one segment": {
            "hidden_size": 48,
            "num_hidden_layers": 5,
            "num_attention_heads": 2,
            "hidden_act": "gelu_new",
            "type_vocab_size": 1,
            "layer_norm_eps": 1e-6,
        },
        "silu, no pad token": {
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 1,
            "hidden_act": "silu",
            "pad_token_id": None,
        },
    }
    switches: ClassVar = {"LMHeadModel": {"is_decoder": True, "use_cache": False}}
    published = ({}, 109_482_240)  # bert-base-uncased


def test_minilm_gives_the_references_hidden_vectors_and_gradients():
    from regard.checkpoints.files import find_checkpoint

    name = "sentence-transformers/all-MiniLM-L6-v2"
    folder = find_checkpoint(name).path("config.json").parent
    theirs = transformers.BertModel.from_pretrained(folder, attn_implementation="eager")
    ours = regard.BertModel.from_pretrained(name)
    texts = ["A great film.", "", "Ein längerer Satz, der auch noch weiter geht und nicht endet."]
    batch = regard.AutoTokenizer.from_pretrained(name)(texts, padding=True, return_tensors="pt")
    mask = batch["attention_mask"].bool()
    expected, found = theirs(**batch), ours(**batch)
    assert_same_outputs(found, expected, mask)
    for output in (expected, found):
        (output.last_hidden_state[mask].square().mean() + output.pooler_output.mean()).backward()
    assert_same_gradients(ours, theirs)
