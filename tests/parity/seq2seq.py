"""What the parity tests of encoder-decoder families share beside `Parity`."""

import logging

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import regard
from regard.errors import notices

from .reference import BATCH, LENGTH, Parity, assert_close, assert_same_gradients, disturb

TARGET = 7
#: Lengths of ragged rows.
SOURCES, TARGETS = [7, LENGTH, 1, 3], [2, 5, TARGET, 5]
#: Heads whose target is what they are to give.
GENERATORS = ("ForConditionalGeneration", "MTModel")
SEEN = {"output_hidden_states": True, "output_attentions": True}


def masks(lengths, columns):
    return (torch.arange(columns) < torch.tensor(lengths)[:, None]).long()


def to_the_left(ids, mask):
    """Return rows that are padded on the right with their padding on the left."""
    shifts = mask.shape[1] - mask.sum(1)
    rows = zip(ids, mask, shifts.tolist(), strict=True)
    moved = [(one.roll(shift), other.roll(shift)) for one, other, shift in rows]
    return torch.stack([one for one, _ in moved]), torch.stack([other for _, other in moved])


class Seq2SeqParity(Parity):
    """The checks of one encoder-decoder family.

    Attributes:
        holes: Whether labels may be -100 between others; some families then shift them otherwise.
        sized: Fields of published models, and their numbers of parameters, by their names.
    """

    holes: bool = True
    sized: dict[str, tuple[dict, int]]

    @classmethod
    def pytest_generate_tests(cls, metafunc):
        super().pytest_generate_tests(metafunc)
        if "size" in metafunc.fixturenames:
            metafunc.parametrize("size", cls.sized)

    @pytest.fixture
    def told(self):
        """Return a list to which every notice is added."""
        lines = []
        listener = logging.Handler()
        listener.emit = lambda record: lines.append(record.getMessage())
        notices.addHandler(listener)
        yield lines
        notices.removeHandler(listener)

    @property
    def generator(self):
        return next(task for task in self.tasks if task in GENERATORS)

    def disturb(self, model):
        disturb(model)
        if "final_logits_bias" in dict(model.named_buffers()):
            model.final_logits_bias.normal_()

    def inputs(self, task, config, *, ragged):
        """Return sources that end with their end token, and for a base also targets."""
        batch = super().inputs(task, config, ragged=ragged)
        mask, pad = batch["attention_mask"], config.pad_token_id
        ids = batch["input_ids"].clamp(min=4)
        ids[torch.arange(BATCH), mask.sum(1) - 1] = config.eos_token_id
        batch["input_ids"] = ids.masked_fill(mask == 0, pad)
        if task == "Model":
            target = masks(TARGETS if ragged else [TARGET] * BATCH, TARGET)
            words = torch.randint(4, config.vocab_size, target.shape)
            batch["decoder_input_ids"] = words.masked_fill(target == 0, pad)
            batch["decoder_attention_mask"] = target
        return batch

    def labels(self, task, config, mask):
        if task not in GENERATORS:
            return super().labels(task, config, mask)
        target = masks([TARGET] * BATCH if mask.all() else TARGETS, TARGET)
        labels = torch.randint(4, config.vocab_size, target.shape)
        if self.holes:
            labels[:, 1] = -100
        labels[0, 1] = 5  # the last of a short row
        return {"labels": labels.masked_fill(target == 0, -100)}

    def target_mask(self, batch):
        """Return where the target has tokens."""
        if "decoder_attention_mask" in batch:
            return batch["decoder_attention_mask"]
        labels = batch.get("labels")
        if labels is not None and labels.shape == (BATCH, TARGET):
            return masks([int((row != -100).nonzero().max()) + 1 for row in labels], TARGET)
        return batch["attention_mask"]

    def assert_same_outputs(self, found, expected, batch):
        source, target = batch["attention_mask"], self.target_mask(batch)
        there = [name for name, value in expected.items() if not isinstance(value, tuple) or value]
        assert list(found.keys()) == there  # the reference has empty fields
        for name in there:
            value = expected[name]
            queries = source if name.startswith("encoder_") else target
            keys = source if name.startswith(("encoder_", "cross_")) else target
            parts = value if isinstance(value, tuple) else (value,)
            others = found[name] if isinstance(value, tuple) else (found[name],)
            assert len(others) == len(parts), name
            for index, (ours, theirs) in enumerate(zip(others, parts, strict=True)):
                if name.endswith("attentions"):
                    real = queries[:, None, :, None] * keys[:, None, None, :]
                    assert_close(f"{name}[{index}]", ours, theirs * real)
                else:
                    assert_close(f"{name}[{index}]", ours, theirs, queries)

    def compare(self, ours, theirs, batch):
        expected, found = theirs(**batch), ours(**batch)
        self.assert_same_outputs(found, expected, batch)
        theirs.zero_grad(), ours.zero_grad()
        for output in (expected, found):
            loss = output.get("loss")
            if loss is None:
                real = self.target_mask(batch).bool()
                loss = output.last_hidden_state[real].square().mean()
            loss.backward()
        unused = [name for name, p in theirs.named_parameters() if p.grad is None]
        assert all("encoder_attn" in n or "shared" in n or "embed_" in n for n in unused), unused
        assert_same_gradients(ours, theirs, idle=len(unused))

    def test_everything_that_passed_through(self, task, tmp_path):
        theirs, ours = self.both(task, tmp_path, **self.small)
        batch = self.labelled(task, theirs.config, ragged=False)
        self.assert_same_outputs(ours(**batch, **SEEN), theirs(**batch, **SEEN), batch)

    def test_everything_that_passed_through_ragged_batches(self, padded_task, tmp_path):
        theirs, ours = self.both(padded_task, tmp_path, **self.small)
        batch = self.labelled(padded_task, theirs.config, ragged=True)
        self.assert_same_outputs(ours(**batch, **SEEN), theirs(**batch, **SEEN), batch)

    @pytest.mark.parametrize("ragged", [False, True])
    def test_hidden_states_attentions_positions_and_embeddings(self, ragged, options, tmp_path):
        theirs, ours = self.both("Model", tmp_path, **options)
        batch = self.inputs("Model", theirs.config, ragged=ragged)
        for ids, vectors in (
            ("input_ids", "inputs_embeds"),
            ("decoder_input_ids", "decoder_inputs_embeds"),
        ):
            batch[vectors] = torch.randn(*batch.pop(ids).shape, ours.config.hidden_size)
        self.assert_same_outputs(ours(**batch, **SEEN), theirs(**batch, **SEEN), batch)

    test_embeddings_without_position_ids = None  # the same: no family here takes positions

    def test_a_target_beside_its_labels(self, tmp_path):
        theirs, ours = self.both(self.generator, tmp_path, **self.small)
        batch = self.labelled(self.generator, theirs.config, ragged=True)
        given = self.inputs("Model", theirs.config, ragged=True)
        batch |= {name: given[name] for name in ("decoder_input_ids", "decoder_attention_mask")}
        self.compare(ours, theirs, batch)

    @pytest.mark.parametrize("ragged", [False, True])
    def test_a_source_that_is_encoded_already(self, ragged, tmp_path):
        theirs, ours = self.both("Model", tmp_path, **self.small)
        batch = self.inputs("Model", theirs.config, ragged=ragged)
        whole = ours(**batch, **SEEN)
        batch.pop("input_ids")
        encoded = tuple(whole[name] for name in whole if name.startswith("encoder_"))
        batch["encoder_outputs"] = encoded
        assert torch.equal(ours(**batch).last_hidden_state, whole.last_hidden_state)
        self.assert_same_outputs(ours(**batch, **SEEN), theirs(**batch, **SEEN), batch)

    def test_rows_padded_on_the_left_are_as_if_alone(self, tmp_path):
        """Where the reference counts positions from the padding, and answers otherwise."""
        theirs, ours = self.both(self.generator, tmp_path, **self.small)
        batch = self.inputs("Model", theirs.config, ragged=True)
        padded = {}
        for ids, mask in (
            ("input_ids", "attention_mask"),
            ("decoder_input_ids", "decoder_attention_mask"),
        ):
            padded[ids], padded[mask] = to_the_left(batch[ids], batch[mask])
        found = ours(**padded, **SEEN)
        for row, (source, target) in enumerate(zip(SOURCES, TARGETS, strict=True)):
            alone = {
                "input_ids": batch["input_ids"][row : row + 1, :source],
                "decoder_input_ids": batch["decoder_input_ids"][row : row + 1, :target],
            }
            expected = theirs(**alone, **SEEN)
            assert_close("logits", found.logits[row, -target:], expected.logits[0])
            for one, other in zip(found.cross_attentions, expected.cross_attentions, strict=True):
                assert_close("cross_attentions", one[row, :, -target:, -source:], other[0])
                assert not one[row, :, :, :-source].any() or source == LENGTH
            encoded = found.encoder_last_hidden_state[row, -source:]
            assert_close("encoder", encoded, expected.encoder_last_hidden_state[0])

    def test_published_sizes(self, size, monkeypatch):
        monkeypatch.setattr(type(self), "published", self.sized[size], raising=False)
        Parity.test_published_size(self)

    test_published_size = None

    @pytest.mark.parametrize("ragged", [False, True])
    def test_a_decoder_by_itself_may_have_a_memory(self, ragged, tmp_path):
        theirs, ours = self.both("ForCausalLM", tmp_path, **self.small)
        batch = self.labelled("ForCausalLM", theirs.config, ragged=ragged)
        batch["encoder_hidden_states"] = torch.randn(BATCH, 5, ours.config.hidden_size)
        memory = masks([5, 1, 3, 5] if ragged else [5] * BATCH, 5)
        batch["encoder_attention_mask"] = memory
        expected, found = theirs(**batch, **SEEN), ours(**batch, **SEEN)
        mask = batch["attention_mask"]
        assert_close("logits", found.logits, expected.logits, mask)
        assert_close("loss", found.loss, expected.loss)
        real = mask[:, None, :, None] * memory[:, None, None, :]
        assert len(found.cross_attentions) == len(expected.cross_attentions) > 0
        for one, other in zip(found.cross_attentions, expected.cross_attentions, strict=True):
            assert_close("cross_attentions", one, other * real)
        for output in (expected, found):
            output.loss.backward()
        assert_same_gradients(ours, theirs)

    def test_a_decoder_by_itself_reads_the_whole_models_file(self, tmp_path):
        """Whose words have only the name of both sides: the reference leaves them random then."""
        self.both(self.generator, tmp_path, **self.small)
        ours = self.model_class(regard, "ForCausalLM").from_pretrained(tmp_path)
        file = tmp_path / "model.safetensors"
        tensors = load_file(file)
        tensors["model.decoder.embed_tokens.weight"] = tensors["model.shared.weight"].clone()
        save_file(tensors, file, {"format": "pt"})
        reference = self.model_class(transformers, "ForCausalLM")
        theirs = reference.from_pretrained(tmp_path, attn_implementation="eager")
        theirs.config.use_cache = False
        batch = self.labelled("ForCausalLM", theirs.config, ragged=True)
        self.compare(ours, theirs, batch)
        again = self.model_class(regard, "ForCausalLM").from_pretrained(tmp_path)
        assert torch.equal(again(**batch).logits, ours(**batch).logits)

    def test_a_file_with_every_word_matrix_by_its_own_name(self, tmp_path, told):
        """As files of PyTorch's own format have it, and with what their first versions added."""
        theirs, _ = self.both(self.generator, tmp_path, **self.small)
        file = tmp_path / "model.safetensors"
        tensors = load_file(file)
        file.unlink()
        again = ("model.encoder.embed_tokens", "model.decoder.embed_tokens", "lm_head")
        tensors |= {f"{name}.weight": tensors["model.shared.weight"] for name in again}
        tensors |= {f"model.{side}.version": torch.tensor([3.0]) for side in ("encoder", "decoder")}
        torch.save(tensors, tmp_path / "pytorch_model.bin")
        ours = self.model_class(regard, self.generator).from_pretrained(tmp_path)
        batch = self.labelled(self.generator, theirs.config, ragged=True)
        self.compare(ours, theirs, batch)
        assert ours.lm_head.weight is ours.get_input_embeddings().weight
        assert ours.config.tie_word_embeddings
        assert not told
