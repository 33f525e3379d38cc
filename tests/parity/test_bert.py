"""Every BERT head gives the reference's outputs, losses and gradients, from the files it writes."""

import pytest
import torch
import transformers

import regard
from regard.checkpoints.keymap import disk_names

TOLERANCE = 1e-5
BATCH, LENGTH, CHOICES = 4, 11, 3

#: Small, wide, odd; every activation that BERTs are trained with; tied and not.
CONFIGS = {
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
HEADS = (
    "BertModel",
    "BertForMaskedLM",
    "BertForPreTraining",
    "BertForNextSentencePrediction",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertForQuestionAnswering",
    "BertForMultipleChoice",
)


def both(head, folder, **options):
    """Write a random reference model, and load it with the reference and with regard."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 99, "intermediate_size": 40, "max_position_embeddings": 20}
    quiet = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = transformers.BertConfig(**sizes | quiet | options)
    model = getattr(transformers, head)(config)
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms too, which start at 0 and 1
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    reference = getattr(transformers, head).from_pretrained(folder, attn_implementation="eager")
    return reference, getattr(regard, head).from_pretrained(folder)


def inputs(head, config, *, ragged):
    """Return the inputs of one call; ragged rows are padded on the right."""
    shape = (BATCH, CHOICES, LENGTH) if head == "BertForMultipleChoice" else (BATCH, LENGTH)
    generator = torch.Generator().manual_seed(1)
    mask = torch.ones(shape, dtype=torch.long)
    if ragged:
        flat = mask.view(-1, LENGTH)
        for row, length in enumerate(([7, LENGTH, 1, 3] * CHOICES)[: len(flat)]):
            flat[row, length:] = 0
    return {
        "input_ids": torch.randint(1, config.vocab_size, shape, generator=generator),
        "attention_mask": mask,
        "token_type_ids": torch.randint(config.type_vocab_size, shape, generator=generator),
    }


def labels(head, config, mask):
    """Return labels for one call; none at padding."""
    generator = torch.Generator().manual_seed(2)

    def below(count, *shape):
        return torch.randint(count, shape, generator=generator)

    words = below(config.vocab_size, BATCH, LENGTH)
    if mask.dim() == 2:
        words = words.masked_fill((mask == 0) | (below(3, BATCH, LENGTH) == 0), -100)
    return {
        "BertModel": {},
        "BertForMaskedLM": {"labels": words},
        "BertForPreTraining": {"labels": words, "next_sentence_label": below(2, BATCH)},
        "BertForNextSentencePrediction": {"labels": below(2, BATCH)},
        "BertForSequenceClassification": {"labels": below(config.num_labels, BATCH)},
        "BertForTokenClassification": {"labels": words.clamp(max=config.num_labels - 1)},
        "BertForQuestionAnswering": {
            "start_positions": below(LENGTH, BATCH),
            "end_positions": below(LENGTH + 3, BATCH),  # past the end: not counted
        },
        "BertForMultipleChoice": {"labels": below(CHOICES, BATCH)},
    }[head]


def assert_close(name, ours, theirs, mask=None):
    """Compare tensors; those with one row per token only where there are tokens."""
    if mask is not None and theirs.shape[:2] == mask.shape:
        ours, theirs = ours[mask.bool()], theirs[mask.bool()]
    assert ours.shape == theirs.shape, name
    difference = (ours - theirs).abs().max().item()
    assert difference <= TOLERANCE, f"{name} differs by {difference:.1e}"


def assert_same_outputs(ours, theirs, mask):
    assert list(ours.keys()) == list(theirs.keys())
    flat = mask.flatten(0, -2)
    for name, value in theirs.items():
        if isinstance(value, tuple):
            assert len(ours[name]) == len(value), name
            for index, each in enumerate(value):
                assert_close(f"{name}[{index}]", ours[name][index], each, flat)
        else:
            assert_close(name, ours[name], value, flat)


def assert_same_gradients(ours, theirs):
    parameters = dict(ours.named_parameters())
    on_disk = disk_names(ours, parameters)
    reference = dict(theirs.named_parameters())
    # The reference has two names for the bias of the word scores, and computes with this one.
    if "cls.predictions.decoder.bias" in reference:
        reference["cls.predictions.bias"] = reference["cls.predictions.decoder.bias"]
    compared = 0
    for name, parameter in parameters.items():
        other = reference[on_disk[name]].grad
        if parameter.grad is None or other is None:
            assert not (parameter.grad is not None and parameter.grad.abs().max() > TOLERANCE), name
            assert not (other is not None and other.abs().max() > TOLERANCE), name
            continue
        assert_close(f"gradient of {name}", parameter.grad, other)
        compared += 1
    assert compared >= len(parameters) - 2  # a pooler that no loss reads has none


@pytest.mark.parametrize("options", CONFIGS.values(), ids=CONFIGS.keys())
@pytest.mark.parametrize("head", HEADS)
def test_outputs_losses_and_gradients(head, options, tmp_path):
    theirs, ours = both(head, tmp_path, **options)
    batch = inputs(head, theirs.config, ragged=False)
    batch |= labels(head, theirs.config, batch["attention_mask"])
    for training in (False, True):
        theirs.train(training), ours.train(training)
        expected, found = theirs(**batch), ours(**batch)
        assert_same_outputs(found, expected, batch["attention_mask"])
        if head == "BertModel":
            expected, found = expected.pooler_output.sum(), found.pooler_output.sum()
        else:
            expected, found = expected.loss, found.loss
        theirs.zero_grad(), ours.zero_grad()
        expected.backward(), found.backward()
        assert_same_gradients(ours, theirs)


@pytest.mark.parametrize("head", [head for head in HEADS if "Question" not in head])
def test_ragged_batches(head, tmp_path):
    theirs, ours = both(head, tmp_path, **CONFIGS["small"])
    batch = inputs(head, theirs.config, ragged=True)
    batch |= labels(head, theirs.config, batch["attention_mask"])
    expected, found = theirs(**batch), ours(**batch)
    assert_same_outputs(found, expected, batch["attention_mask"])
    if head != "BertModel":
        expected.loss.backward(), found.loss.backward()
        assert_same_gradients(ours, theirs)


def test_ragged_questions_equal_the_reference_one_by_one(tmp_path):
    """In a padded batch the reference's loss counts padding as possible answers; ours does not."""
    theirs, ours = both("BertForQuestionAnswering", tmp_path, **CONFIGS["small"])
    batch = inputs("BertForQuestionAnswering", theirs.config, ragged=True)
    start, end = torch.tensor([6, 3, 0, 1]), torch.tensor([6, 10, 0, 2])
    found = ours(**batch, start_positions=start, end_positions=end)
    losses = []
    for row, length in enumerate(batch["attention_mask"].sum(1).tolist()):
        alone = {name: value[row : row + 1, :length] for name, value in batch.items()}
        one = theirs(
            **alone, start_positions=start[row : row + 1], end_positions=end[row : row + 1]
        )
        losses.append(one.loss)
        assert_close("start", found.start_logits[row, :length], one.start_logits[0])
        assert_close("end", found.end_logits[row, :length], one.end_logits[0])
        assert torch.isneginf(found.start_logits[row, length:]).all()
    assert_close("loss", found.loss, torch.stack(losses).mean())


@pytest.mark.parametrize("ragged", [False, True])
def test_hidden_states_attentions_positions_and_embeddings(ragged, tmp_path):
    theirs, ours = both("BertModel", tmp_path, **CONFIGS["small"])
    batch = inputs("BertModel", theirs.config, ragged=ragged)
    mask = batch["attention_mask"]
    batch["position_ids"] = torch.arange(LENGTH).flip(0)[None] + 3
    vectors = theirs.get_input_embeddings()(batch.pop("input_ids")).detach()
    batch["inputs_embeds"] = vectors
    wanted = {"output_hidden_states": True, "output_attentions": True}
    expected, found = theirs(**batch, **wanted), ours(**batch, **wanted)
    assert len(found.hidden_states) == 3
    assert len(found.attentions) == 2
    for index, layer in enumerate(expected.attentions):
        real = mask[:, None, :, None].bool() & mask[:, None, None, :].bool()
        assert_close(f"attentions[{index}]", found.attentions[index], layer * real)
    for name in ("last_hidden_state", "pooler_output"):
        assert_close(name, found[name], expected[name], mask)
    for index, layer in enumerate(expected.hidden_states):
        assert_close(f"hidden_states[{index}]", found.hidden_states[index], layer, mask)


@pytest.mark.parametrize(
    ("options", "target"),
    [
        ({"num_labels": 1}, torch.tensor([0.5, -1.0, 2.0, 0.0])),
        ({"num_labels": 3, "problem_type": "regression"}, torch.arange(12.0).view(4, 3)),
        ({"num_labels": 3}, torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]])),
        ({"num_labels": 3}, torch.tensor([2, 0, 1, -100])),
    ],
    ids=["regression", "several numbers", "several labels", "one label, one without"],
)
def test_sequence_losses(options, target, tmp_path):
    head = "BertForSequenceClassification"
    theirs, ours = both(head, tmp_path, **CONFIGS["small"], **options)
    batch = inputs(head, theirs.config, ragged=True)
    expected, found = theirs(**batch, labels=target), ours(**batch, labels=target)
    assert_close("loss", found.loss, expected.loss)
    assert_close("logits", found.logits, expected.logits)


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
