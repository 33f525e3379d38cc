"""What every family's parity test shares: a body of tests, `Parity`, and how to compare.

A family inherits `Parity`, names its heads and configurations, and gets every check: outputs,
losses and gradients of full and ragged batches, files both ways, where dropout stands, its
published size.
"""

import json
from typing import ClassVar

import pytest
import torch
import transformers
from safetensors.torch import load_file

import regard
from regard.checkpoints.keymap import disk_places

TOLERANCE = 1e-5
BATCH, LENGTH, CHOICES = 4, 11, 3
#: How the names of dropout probabilities begin that only heads have.
OF_HEADS = ("classifier_", "qa_", "seq_classif_", "summary_")
#: What classes are called after `AutoModel`, where not by what they are called themselves.
AUTO_NAMES = {
    "Model": "",
    "LMHeadModel": "ForCausalLM",
    "ForConditionalGeneration": "ForSeq2SeqLM",
    "MTModel": "ForSeq2SeqLM",
}


def disturb(model):
    """Make every parameter random: biases and norms too, which start at 0 and 1.

    But for what is not trained, such as a table of sines.
    """
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)


def assert_close(name, ours, theirs, mask=None):
    """Compare tensors; those with one row per token only where there are tokens."""
    if mask is not None and theirs.shape[: mask.dim()] == mask.shape:
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
            per_choice = value.shape[: mask.dim()] == mask.shape
            assert_close(name, ours[name], value, mask if per_choice else flat)


def assert_same_gradients(ours, theirs, idle=2):
    """Compare all gradients; so many may be `idle`, having none, such as a pooler no loss reads."""
    parameters = dict(ours.named_parameters())
    places = disk_places(ours, parameters)
    reference = dict(theirs.named_parameters(remove_duplicate=False))
    # The reference has two names for the bias of the word scores, and computes with the second.
    for second, first in ours.anatomy().aliases.items():
        if second in reference:
            reference[first] = reference[second]
    compared = 0
    for name, parameter in parameters.items():
        place = places[name]
        other = reference[place.name].grad
        other = None if other is None else place.take(other)
        if parameter.grad is None or other is None:
            assert not (parameter.grad is not None and parameter.grad.abs().max() > TOLERANCE), name
            assert not (other is not None and other.abs().max() > TOLERANCE), name
            continue
        assert_close(f"gradient of {name}", parameter.grad, other)
        compared += 1
    assert compared >= len(parameters) - idle


def assert_published_size(prefix, task, options, count, *, same_names=True, unlearned=()):
    """Build both models without memory: `count` parameters, and the same names and shapes.

    Where the reference has other names in memory than on disk, only the shapes are compared here.
    """
    with torch.device("meta"):
        theirs, ours = (
            getattr(library, prefix + task)(getattr(library, f"{prefix}Config")(**options))
            for library in (transformers, regard)
        )
    computed = [p.numel() for name, p in theirs.named_parameters() if name in unlearned]
    assert theirs.num_parameters() - sum(computed) == count
    assert ours.num_parameters() == count
    if not same_names:
        shapes, expected = (
            sorted(tuple(each.shape) for each in model.parameters()) for model in (ours, theirs)
        )
        assert shapes == expected
        return
    expected = {n: tuple(t.shape) for n, t in theirs.named_parameters(remove_duplicate=False)}
    parameters = dict(ours.named_parameters())
    for name, place in disk_places(ours, parameters).items():
        assert place.shape(expected[place.name]) == tuple(parameters[name].shape), name


class Parity:
    """The checks of one family of text encoders.

    Attributes:
        prefix: What the names of the classes begin with.
        tasks: The heads, by what the names of their classes end with; the base comes first.
        sizes: Fields of every configuration.
        rates: Every field that is a dropout probability.
        configs: Fields of each configuration, by a name for it.
        published: Fields of a published model of the base, and its number of parameters.
        switches: Fields that a task needs in every configuration.
        without_auto: Tasks that no auto class is for.
        kin: Whether the family is another's but for defaults and names; so is one whose checks
            inherit those of another family.
        unlearned: Names in the reference's files of what is computed, not learned: ours lack them.
    """

    prefix: str
    tasks: tuple[str, ...]
    sizes: dict
    rates: tuple[str, ...]
    configs: dict[str, dict]
    published: tuple[dict, int]
    switches: ClassVar[dict[str, dict]] = {}
    without_auto: tuple[str, ...] = ()
    kin: bool = False
    unlearned: tuple[str, ...] = ()

    @classmethod
    def pytest_generate_tests(cls, metafunc):
        values = {
            "task": cls.tasks,
            "auto_task": [task for task in cls.tasks if task not in cls.without_auto],
            "padded_task": [task for task in cls.tasks if task != "ForQuestionAnswering"],
            "options": [pytest.param(o, id=name) for name, o in cls.configs.items()],
            "rate": cls.rates,
        }
        names = [name for name in metafunc.fixturenames if name in values]
        for pair, given in (
            (("task", "options"), cls.heads_and_configs),
            (("task", "rate"), cls.heads_and_rates),
        ):
            if {*pair} <= {*names}:
                names = [name for name in names if name not in pair]
                metafunc.parametrize(pair, given())
        for name in names:
            metafunc.parametrize(name, values[name])

    @classmethod
    def heads_and_configs(cls):
        """Return every head with every configuration.

        The fast run has every head with the first configuration, and the base with all.
        """
        first = next(iter(cls.configs))
        return [
            pytest.param(
                *(task, options),
                id=f"{task}-{name}",
                marks=[] if name == first or task == cls.tasks[0] else [pytest.mark.slow],
            )
            for task in cls.tasks
            for name, options in cls.configs.items()
        ]

    @classmethod
    def heads_and_rates(cls):
        """Return every head with every probability of dropout.

        The fast run has all of them with the base and with the head for texts, and with every head
        those of heads.
        """
        whole = (cls.tasks[0], "ForSequenceClassification")
        return [
            pytest.param(
                *(task, rate),
                marks=[] if task in whole or rate.startswith(OF_HEADS) else [pytest.mark.slow],
            )
            for task in cls.tasks
            for rate in cls.rates
        ]

    @property
    def small(self):
        return next(iter(self.configs.values()))

    def config(self, library, **options):
        quiet = dict.fromkeys(self.rates, 0.0)
        return getattr(library, f"{self.prefix}Config")(**quiet | self.sizes | options)

    def model_class(self, library, task):
        return getattr(library, self.prefix + task)

    def base_class(self, task):
        """Return the class of ours that the head of a task sits on."""
        return self.model_class(regard, "Model")

    def both(self, task, folder, **options):
        """Write a random reference model, and load it with the reference and with regard."""
        torch.manual_seed(0)
        reference = self.model_class(transformers, task)
        model = reference(self.config(transformers, **options | self.switches.get(task, {})))
        self.disturb(model)
        model.save_pretrained(folder)
        theirs = reference.from_pretrained(folder, attn_implementation="eager")
        return theirs, self.model_class(regard, task).from_pretrained(folder)

    def disturb(self, model):
        disturb(model)

    def inputs(self, task, config, *, ragged):
        """Return the inputs of one call; ragged rows are padded on the right."""
        several = task in ("ForMultipleChoice", "DoubleHeadsModel")
        shape = (BATCH, CHOICES, LENGTH) if several else (BATCH, LENGTH)
        generator = torch.Generator().manual_seed(1)
        mask = torch.ones(shape, dtype=torch.long)
        if ragged:
            flat = mask.view(-1, LENGTH)
            for row, length in enumerate(([7, LENGTH, 1, 3] * CHOICES)[: len(flat)]):
                flat[row, length:] = 0
        low = (config.pad_token_id or 0) + 1
        batch = {
            "input_ids": torch.randint(low, config.vocab_size, shape, generator=generator),
            "attention_mask": mask,
        }
        segments = config.to_dict().get("type_vocab_size")
        if segments:
            batch["token_type_ids"] = torch.randint(segments, shape, generator=generator)
        return batch

    def labels(self, task, config, mask):
        """Return labels for one call; none at padding."""
        generator = torch.Generator().manual_seed(2)

        def below(count, *shape):
            return torch.randint(count, shape, generator=generator)

        words = below(config.vocab_size, BATCH, LENGTH)
        if mask.dim() == 2:
            words = words.masked_fill((mask == 0) | (below(3, BATCH, LENGTH) == 0), -100)
        return {
            "Model": {},
            "ForMaskedLM": {"labels": words},
            "ForCausalLM": {"labels": words},
            "LMHeadModel": {"labels": words},
            "ForPreTraining": {"labels": words, "next_sentence_label": below(2, BATCH)},
            "ForNextSentencePrediction": {"labels": below(2, BATCH)},
            "ForSequenceClassification": {"labels": below(config.num_labels, BATCH)},
            "ForTokenClassification": {"labels": words.clamp(max=config.num_labels - 1)},
            "ForQuestionAnswering": {
                "start_positions": below(LENGTH, BATCH),
                "end_positions": below(LENGTH + 3, BATCH),  # past the end: not counted
            },
            "ForMultipleChoice": {"labels": below(CHOICES, BATCH)},
            "DoubleHeadsModel": {
                "labels": below(config.vocab_size, *mask.shape).masked_fill(mask == 0, -100),
                "mc_labels": below(CHOICES, BATCH),
                "mc_token_ids": mask.sum(-1) // 2,
            },
        }[task]

    def labelled(self, task, config, *, ragged):
        batch = self.inputs(task, config, ragged=ragged)
        return batch | self.labels(task, config, batch["attention_mask"])

    def assert_same_outputs(self, found, expected, batch):
        assert_same_outputs(found, expected, batch["attention_mask"])

    def compare(self, ours, theirs, batch):
        """Compare the outputs of one call, and the gradients of its loss, or of a base's output."""
        mask = batch["attention_mask"]
        expected, found = theirs(**batch), ours(**batch)
        self.assert_same_outputs(found, expected, batch)
        theirs.zero_grad(), ours.zero_grad()
        losses = [name for name in expected if name.endswith("loss")]
        if losses:
            sum(expected[name] for name in losses).backward()
            sum(found[name] for name in losses).backward()
        else:
            for output in (expected, found):
                total = output.last_hidden_state[mask.bool()].square().mean()
                if "pooler_output" in output:
                    total = total + output.pooler_output.sum()
                total.backward()
        assert_same_gradients(ours, theirs)

    def test_outputs_losses_and_gradients(self, task, options, tmp_path):
        theirs, ours = self.both(task, tmp_path, **options)
        batch = self.labelled(task, theirs.config, ragged=False)
        for training in (False, True):
            theirs.train(training), ours.train(training)
            self.compare(ours, theirs, batch)

    def test_ragged_batches(self, padded_task, tmp_path):
        theirs, ours = self.both(padded_task, tmp_path, **self.small)
        self.compare(ours, theirs, self.labelled(padded_task, theirs.config, ragged=True))

    def test_ragged_questions_equal_the_reference_one_by_one(self, tmp_path):
        """In a padded batch the reference's loss counts padding as answers; ours does not."""
        theirs, ours = self.both("ForQuestionAnswering", tmp_path, **self.small)
        batch = self.inputs("ForQuestionAnswering", theirs.config, ragged=True)
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
    def test_hidden_states_attentions_positions_and_embeddings(self, ragged, tmp_path):
        theirs, ours = self.both("Model", tmp_path, **self.small)
        batch = self.inputs("Model", theirs.config, ragged=ragged)
        mask = batch["attention_mask"]
        batch["position_ids"] = torch.arange(LENGTH).flip(0)[None] + 3
        vectors = theirs.get_input_embeddings()(batch.pop("input_ids")).detach()
        batch["inputs_embeds"] = vectors
        wanted = {"output_hidden_states": True, "output_attentions": True}
        expected, found = theirs(**batch, **wanted), ours(**batch, **wanted)
        assert {*found.keys()} == {*expected.keys()} - {"cross_attentions"}  # that is empty
        assert len(found.hidden_states) == len(expected.hidden_states) == 3
        assert len(found.attentions) == len(expected.attentions) == 2
        for index, layer in enumerate(expected.attentions):
            real = mask[:, None, :, None].bool() & mask[:, None, None, :].bool()
            assert_close(f"attentions[{index}]", found.attentions[index], layer * real)
        for name in {"last_hidden_state", "pooler_output"} & {*expected.keys()}:
            assert_close(name, found[name], expected[name], mask)
        for index, layer in enumerate(expected.hidden_states):
            assert_close(f"hidden_states[{index}]", found.hidden_states[index], layer, mask)

    def test_embeddings_without_position_ids(self, tmp_path):
        theirs, ours = self.both("Model", tmp_path, **self.small)
        vectors = torch.randn(BATCH, LENGTH, theirs.get_input_embeddings().embedding_dim)
        expected, found = theirs(inputs_embeds=vectors), ours(inputs_embeds=vectors)
        assert_close("last_hidden_state", found.last_hidden_state, expected.last_hidden_state)

    @pytest.mark.parametrize(
        ("labels", "target"),
        [
            ({"num_labels": 1}, torch.tensor([0.5, -1.0, 2.0, 0.0])),
            ({"num_labels": 3, "problem_type": "regression"}, torch.arange(12.0).view(4, 3)),
            ({"num_labels": 3}, torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]])),
            ({"num_labels": 3}, torch.tensor([2, 0, 1, -100])),
        ],
        ids=["regression", "several numbers", "several labels", "one label, one without"],
    )
    def test_sequence_losses(self, labels, target, tmp_path):
        task = "ForSequenceClassification"
        theirs, ours = self.both(task, tmp_path, **self.small, **labels)
        batch = self.inputs(task, theirs.config, ragged=True)
        expected, found = theirs(**batch, labels=target), ours(**batch, labels=target)
        assert_close("loss", found.loss, expected.loss)
        assert_close("logits", found.logits, expected.logits)

    def test_every_dropout_stands_where_the_references_does(self, task, rate, tmp_path):
        """A probability of 1 drops everything, without chance: so the outputs must be the same."""
        theirs, ours = self.both(task, tmp_path, **self.small | {rate: 1.0})
        batch = self.labelled(task, theirs.config, ragged=False)
        expected, found = theirs.train()(**batch), ours.train()(**batch)
        self.assert_same_outputs(found, expected, batch)

    def test_files_are_the_same_both_ways(self, task, options, tmp_path):
        theirs, ours = self.both(task, tmp_path / "theirs", **options)
        ours.save_pretrained(tmp_path / "ours")
        before, after = (
            load_file(tmp_path / folder / "model.safetensors") for folder in ("theirs", "ours")
        )
        before = {name: tensor for name, tensor in before.items() if name not in self.unlearned}
        assert after.keys() == before.keys()
        for second, first in ours.anatomy().aliases.items():
            if second in before:  # only in files that are not tied, where it is what counts
                before[first] = before[second]
        for name, tensor in before.items():
            assert after[name].dtype == tensor.dtype, name
            assert torch.equal(after[name], tensor), name
        reference = self.model_class(transformers, task)
        again, info = reference.from_pretrained(tmp_path / "ours", output_loading_info=True)
        assert {*info.pop("missing_keys")} <= {*self.unlearned}
        assert not any(info.values()), info
        state = {name: t for name, t in again.state_dict().items() if name in before}
        for name, tensor in before.items():
            assert torch.equal(state[name], tensor), name
        one, other = (
            type(theirs.config).from_pretrained(tmp_path / folder).to_dict()
            for folder in ("theirs", "ours")
        )
        assert one == other

    def test_published_size(self):
        assert_published_size(self.prefix, "Model", *self.published, unlearned=self.unlearned)

    def test_auto_classes_find_every_head(self, auto_task, tmp_path):
        self.both(auto_task, tmp_path, **self.small)
        automatic = getattr(regard, f"AutoModel{AUTO_NAMES.get(auto_task, auto_task)}")
        model = automatic.from_pretrained(tmp_path)
        assert type(model) is self.model_class(regard, auto_task)
        assert type(model.base_model) is self.base_class(auto_task)

    def test_a_folder_of_another_family_is_refused(self, task, tmp_path):
        other = "Roberta" if self.prefix == "Bert" else "Bert"
        sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
        config = getattr(transformers, f"{other}Config")(vocab_size=20, **sizes)
        getattr(transformers, f"{other}ForMaskedLM")(config).save_pretrained(tmp_path)
        ours = self.model_class(regard, task)
        with pytest.raises(regard.ConfigError, match=f"describes a '{other.lower()}' model"):
            ours.from_pretrained(tmp_path)
        content = json.loads((tmp_path / "config.json").read_text("utf-8"))
        content["model_type"] = ours.config_class.model_type
        (tmp_path / "config.json").write_text(json.dumps(content), "utf-8")
        with pytest.raises((regard.CheckpointError, regard.ConfigError)):
            ours.from_pretrained(tmp_path)
        with pytest.raises(TypeError, match=f"is built from a {self.prefix}Config"):
            ours(getattr(regard, f"{other}Config")())
