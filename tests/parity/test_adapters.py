"""Adapters that peft wrote give the same numbers here, and ours give the same in peft."""

import json

import peft
import pytest
import torch
import transformers

import regard

from .reference import disturb

TOLERANCE = 1e-5
SMALL = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
LABELS = {**SMALL, "num_labels": 3}
GPT2 = {"vocab_size": 40, "n_embd": 16, "n_layer": 2, "n_head": 2}
GPT2 |= {"bos_token_id": 1, "eos_token_id": 1}
LLAMA = {**LABELS, "num_key_value_heads": 1, "pad_token_id": 0}
T5 = {"vocab_size": 40, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
BART = {
    "vocab_size": 40,
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "max_position_embeddings": 30,
}
MODERN = {**LABELS, "pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2}
MODERN |= {"bos_token_id": 1, "eos_token_id": 2}
DISTIL = {"vocab_size": 40, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24}

BERT = "BertForSequenceClassification"
QUERY_VALUE = ["query", "value"]
CASES = {
    "bert": (BERT, LABELS, {"target_modules": QUERY_VALUE, "task_type": "SEQ_CLS"}),
    "bert, usual targets": (BERT, LABELS, {"task_type": "SEQ_CLS"}),
    "bert, all biases": (
        *(BERT, LABELS),
        {"target_modules": QUERY_VALUE, "task_type": "SEQ_CLS", "bias": "all"},
    ),
    "bert, all linear": (
        *(BERT, LABELS),
        {
            "target_modules": "all-linear",
            "task_type": "SEQ_CLS",
            "bias": "lora_only",
            "use_rslora": True,
        },
    ),
    "bert tokens, pattern": (
        *("BertForTokenClassification", LABELS),
        {"target_modules": r".*layer\.1.*dense", "task_type": "TOKEN_CLS", "lora_alpha": 32},
    ),
    "bert answers, one layer": (
        *("BertForQuestionAnswering", SMALL),
        {"target_modules": ["query"], "layers_to_transform": [1], "task_type": "QUESTION_ANS"},
    ),
    "bert answers, named layers": (
        *("BertForQuestionAnswering", SMALL),
        {"target_modules": ["query"], "layers_to_transform": 0, "layers_pattern": "layer"},
    ),
    "bert words": ("BertForMaskedLM", SMALL, {"target_modules": "all-linear"}),
    "bert base": ("BertModel", SMALL, {"target_modules": QUERY_VALUE}),
    "llama": (
        *("LlamaForCausalLM", LLAMA),
        {"target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"},
    ),
    "llama classes": (
        *("LlamaForSequenceClassification", LLAMA),
        {"target_modules": ["q_proj", "v_proj"], "task_type": "SEQ_CLS"},
    ),
    "gpt2": ("GPT2LMHeadModel", GPT2, {"target_modules": ["c_attn"], "task_type": "CAUSAL_LM"}),
    "gpt2, usual targets": ("GPT2LMHeadModel", GPT2, {}),
    "gpt2, turned": (
        *("GPT2LMHeadModel", GPT2),
        {
            "target_modules": ["c_attn", "c_proj"],
            "modules_to_save": ["c_fc", "ln_1"],
            "bias": "lora_only",
        },
    ),
    "gpt2, split and whole": (
        *("GPT2LMHeadModel", GPT2),
        {"target_modules": ["c_fc"], "modules_to_save": ["c_attn"]},
    ),
    "gpt2, own words": (
        *("GPT2LMHeadModel", GPT2),
        {"target_modules": "all-linear", "modules_to_save": ["wte"]},
    ),
    "gpt2, tied scores": ("GPT2LMHeadModel", GPT2, {"target_modules": ["c_attn", "lm_head"]}),
    "t5": (
        *("T5ForConditionalGeneration", {**T5, "decoder_start_token_id": 0}),
        {"target_modules": ["q", "v"], "task_type": "SEQ_2_SEQ_LM"},
    ),
    "bart": (
        *("BartForConditionalGeneration", BART),
        {"target_modules": ["q_proj", "v_proj"], "task_type": "SEQ_2_SEQ_LM"},
    ),
    "modernbert": (
        *("ModernBertForSequenceClassification", MODERN),
        {"target_modules": ["Wqkv", "Wi"], "task_type": "SEQ_CLS"},
    ),
    "distilbert": (
        *("DistilBertForSequenceClassification", DISTIL),
        {"target_modules": ["q_lin", "v_lin"], "task_type": "SEQ_CLS"},
    ),
    "roberta": (
        *("RobertaForSequenceClassification", LABELS),
        {"target_modules": "all-linear", "task_type": "SEQ_CLS"},
    ),
}


def in_turn(first):
    """Return all cases; the fast run has every second, from the `first` on."""
    return [
        pytest.param(case, marks=[] if at % 2 == first else [pytest.mark.slow])
        for at, case in enumerate(CASES)
    ]


def change(model):
    """Make what trains random; what a step of training would do, only more."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.2)


def inputs(name):
    ids = torch.randint(3, 40, (2, 7), generator=torch.Generator().manual_seed(1))
    decoder = {"decoder_input_ids": ids.flip(1)} if "Conditional" in name else {}
    return {"input_ids": ids, **decoder}


@torch.no_grad()
def scores(model, name):
    output = model.eval()(**inputs(name))
    known = ("logits", "start_logits", "last_hidden_state")
    return next(output[each] for each in known if each in output)


def assert_close(found, expected):
    assert (found - expected).abs().max().item() <= TOLERANCE


@pytest.fixture
def base(case, tmp_path):
    """Write a base of the reference; return its folder and class."""
    name, sizes, _ = CASES[case]
    torch.manual_seed(0)
    kind = getattr(transformers, name)
    model = kind(kind.config_class(**sizes))
    disturb(model)
    model.save_pretrained(tmp_path / "base")
    return tmp_path / "base", kind


@pytest.mark.parametrize("case", in_turn(0))
def test_what_peft_wrote(case, base, tmp_path):
    (folder, kind), (name, _, settings) = base, CASES[case]
    theirs = peft.get_peft_model(
        kind.from_pretrained(folder), peft.LoraConfig(r=3, lora_dropout=0.1, **settings)
    )
    change(theirs)
    theirs.save_pretrained(tmp_path / "adapter")
    ours = getattr(regard, name).from_pretrained(folder)
    plain = scores(ours, name)
    regard.load_adapter(ours, tmp_path / "adapter")
    expected = scores(theirs, name)
    assert_close(scores(ours, name), expected)
    assert not any(parameter.requires_grad for parameter in ours.parameters())
    assert (expected - plain).abs().max() > 100 * TOLERANCE
    with regard.disable_adapter(ours):
        assert torch.equal(scores(ours, name), plain)
    regard.merge_and_unload(ours)
    assert_close(scores(ours, name), expected)
    assert ours.num_parameters(only_trainable=True) == ours.num_parameters()
    ours.save_pretrained(tmp_path / "merged")
    assert_close(scores(kind.from_pretrained(tmp_path / "merged"), name), expected)


@pytest.mark.parametrize("case", in_turn(1))
def test_what_we_wrote(case, base, tmp_path):
    (folder, kind), (name, _, settings) = base, CASES[case]
    ours = getattr(regard, name).from_pretrained(folder)
    regard.add_adapter(ours, regard.LoraConfig(r=3, **settings))
    theirs = peft.get_peft_model(kind.from_pretrained(folder), peft.LoraConfig(r=3, **settings))
    assert ours.num_parameters(only_trainable=True) == theirs.get_nb_trainable_parameters()[0]
    change(ours)
    ours.save_pretrained(tmp_path / "adapter")
    theirs = peft.PeftModel.from_pretrained(kind.from_pretrained(folder), tmp_path / "adapter")
    assert_close(scores(theirs, name), scores(ours, name))
    again = getattr(regard, name).from_pretrained(tmp_path / "adapter")
    assert torch.equal(scores(again, name), scores(ours, name))
    stored = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert stored["base_model_name_or_path"] == str(folder)
    assert stored["fan_in_fan_out"] == ("gpt2" in case)


@pytest.mark.parametrize("case", ["bert"])
def test_gradients_are_those_of_peft(case, base, tmp_path):
    (folder, kind), (name, _, settings) = base, CASES[case]
    theirs = peft.get_peft_model(kind.from_pretrained(folder), peft.LoraConfig(r=3, **settings))
    change(theirs)
    theirs.save_pretrained(tmp_path / "adapter")
    ours = getattr(regard, name).from_pretrained(folder)
    regard.load_adapter(ours, tmp_path / "adapter", trainable=True)
    labels = torch.tensor([0, 2])
    for model in (ours, theirs):
        model.eval()(**inputs(name), labels=labels).loss.backward()
    expected = {
        each.removeprefix("base_model.model.").replace(".default", ""): parameter.grad
        for each, parameter in theirs.named_parameters()
        if parameter.requires_grad
    }
    found = {
        each.rpartition("default.")[2].removeprefix("changes."): parameter.grad
        for each, parameter in ours.named_parameters()
        if parameter.requires_grad
    }
    both = found.keys() & expected.keys()
    assert len(both) == 8  # A and B of two maps in two layers; the head has other names
    for each in both:
        torch.testing.assert_close(found[each], expected[each])


@pytest.mark.parametrize("case", ["bert"])
@pytest.mark.parametrize("auto", [True, False])
def test_a_folder_of_peft_names_its_base(case, auto, base, tmp_path):
    (folder, kind), (name, _, settings) = base, CASES[case]
    theirs = peft.get_peft_model(kind.from_pretrained(folder), peft.LoraConfig(r=3, **settings))
    change(theirs)
    theirs.save_pretrained(tmp_path / "adapter")
    family = regard.AutoModelForSequenceClassification if auto else getattr(regard, name)
    ours = family.from_pretrained(tmp_path / "adapter")
    assert_close(scores(ours, name), scores(theirs, name))
    assert regard.AutoConfig.from_pretrained(tmp_path / "adapter").num_labels == 3
