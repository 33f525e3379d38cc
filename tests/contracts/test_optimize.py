"""A model that was made fast gives the same answers, steps aside when asked to, and comes back."""

import copy
import logging
from typing import Any

import pytest
import torch
from tests.contracts.families import but_kin, every_task, inputs, main_task, tasks, tiny

import regard
from regard.models.auto import FAMILIES
from regard.observe import observing
from regard.runtime import optimize as module
from regard.runtime.fused import Packed
from regard.runtime.precision import multiplies_int8

CPU = torch.device("cpu")
#: Of a precision, how far results may be from the model's own, in parts of their size: a digit of
#: the numbers multiplied, and what a few layers make of it.
NEAR = {"fp32": 2e-6, "bf16": 2e-2, "int8": 6e-2}
BF16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
PRECISIONS = [
    "fp32",
    pytest.param("bf16", marks=pytest.mark.skipif(not BF16, reason="no bf16 here")),
    pytest.param(
        "int8",
        marks=pytest.mark.skipif(not multiplies_int8(CPU), reason="this processor has no VNNI"),
    ),
]


@pytest.fixture(autouse=True)
def small_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pack even the matrices of tiny models."""
    monkeypatch.setattr(module, "_SMALL", 1)


def run(model: Any, given: dict[str, Any]) -> list[torch.Tensor]:
    with torch.inference_mode():
        found = model(**given)
    return [each for each in found.to_tuple() if isinstance(each, torch.Tensor)]


def packed(model: Any) -> list[Any]:
    return [each for each in model.modules() if isinstance(getattr(each, "packed", None), Packed)]


def assert_near(found: list[torch.Tensor], wanted: list[torch.Tensor], precision: str) -> None:
    assert len(found) == len(wanted) > 0
    for one, other in zip(found, wanted, strict=True):
        error = float((one - other).norm() / other.norm())
        assert error < NEAR[precision], f"{error:.2e}"
        assert one.dtype == other.dtype


@pytest.mark.parametrize(("model_type", "task"), but_kin(every_task()))
def test_every_model_in_fp32(model_type: str, task: str) -> None:
    model = tiny(model_type, task)
    given = inputs(model)
    if task in ("MultipleChoice", "DoubleHeads"):
        given = {name: each[:, None] for name, each in given.items()}
    wanted = run(model, given)
    assert regard.optimize(model, "fp32") is model
    assert packed(model), "nothing became fast: the test shows nothing"
    assert_near(run(model, given), wanted, "fp32")
    regard.deoptimize(model)
    assert not packed(model)
    for found, before in zip(run(model, given), wanted, strict=True):
        assert torch.equal(found, before)


@pytest.mark.parametrize("precision", PRECISIONS[1:])
@pytest.mark.parametrize("model_type", but_kin(FAMILIES))
def test_every_family_in_fewer_digits(model_type: str, precision: str) -> None:
    model = tiny(model_type, main_task(model_type))
    given = inputs(model)
    wanted = run(model, given)
    regard.optimize(model, precision)
    assert regard.precision_of(model) == precision
    found = run(model, given)
    assert_near(found, wanted, precision)
    assert any(not torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("model_type", but_kin(FAMILIES))
def test_an_answer_does_not_depend_on_its_neighbours(model_type: str, precision: str) -> None:
    """Ranges are a row's own, so a batch changes an answer by no more than the order of sums."""
    model = regard.optimize(tiny(model_type), precision)
    given = inputs(model, rows=4)
    together = run(model, given)[0]
    for row in range(4):
        alone = run(model, {name: each[row : row + 1] for name, each in given.items()})[0]
        # A sum in another order may round to the next number of a product's own type.
        torch.testing.assert_close(alone[0], together[row], atol=NEAR[precision] / 2, rtol=0.0)


@pytest.mark.parametrize("model_type", ["gpt2", "llama", "marian", "t5", "bart"])
def test_writing_is_the_same_with_a_cache(model_type: str) -> None:
    task = next(each for each in tasks(model_type) if each in ("CausalLM", "Seq2SeqLM"))
    model = tiny(model_type, task)
    given = {name: each for name, each in inputs(model).items() if name == "input_ids"}
    wanted = model.generate(**given, max_new_tokens=6)
    regard.optimize(model, "fp32")
    assert torch.equal(model.generate(**given, max_new_tokens=6), wanted)


@pytest.fixture
def bert() -> Any:
    return tiny("bert", "SequenceClassification")


needs_bf16 = pytest.mark.skipif(not BF16, reason="no bf16 here")


@needs_bf16
class TestSteppingAside:
    """What looks at a layer, or changes it, finds the layer that it knows."""

    def test_for_gradients(self, bert: Any) -> None:
        given = inputs(bert)
        wanted = bert(**given).logits
        wanted.sum().backward()
        gradients = {name: each.grad.clone() for name, each in bert.named_parameters()}
        bert.zero_grad()
        regard.optimize(bert, "bf16")
        found = bert(**given).logits
        found.sum().backward()
        assert torch.equal(found, wanted)
        for name, each in bert.named_parameters():
            assert torch.equal(each.grad, gradients[name]), name

    def test_in_training(self, bert: Any) -> None:
        regard.optimize(bert, "bf16").train()
        given = inputs(bert)
        torch.manual_seed(3)
        found = run(bert, given)
        regard.deoptimize(bert).train()
        torch.manual_seed(3)
        for one, other in zip(found, run(bert, given), strict=True):
            assert torch.equal(one, other)

    @pytest.mark.parametrize("name", ["attention.query", "attention.value", "feed_forward.up"])
    def test_for_who_looks_at_a_part(self, bert: Any, name: str) -> None:
        given = inputs(bert)
        part = bert.get_submodule(f"bert.encoder.layers.1.{name}")
        seen: list[torch.Tensor] = []

        def see(_: Any, inputs: Any, output: torch.Tensor) -> None:
            seen.append(output)

        with observing({part: see}):
            run(bert, given)
        regard.optimize(bert, "fp32")
        with observing({part: see}):
            run(bert, given)
        wanted, found = seen
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0.0)

    def test_for_a_patch(self, bert: Any) -> None:
        """What a hook gives in the place of a part's result counts."""
        regard.optimize(bert, "fp32")
        part = bert.bert.encoder.layers[0].attention.query
        before = run(bert, inputs(bert))[0]
        part.register_forward_hook(lambda _, __, output: output * 0.0)
        after = run(bert, inputs(bert))[0]
        assert not torch.allclose(before, after)
        regard.deoptimize(bert)
        torch.testing.assert_close(run(bert, inputs(bert))[0], after, atol=1e-5, rtol=0.0)

    def test_for_weights_that_changed(self, bert: Any, caplog: pytest.LogCaptureFixture) -> None:
        given = inputs(bert)
        regard.optimize(bert, "bf16")
        with torch.no_grad():
            bert.bert.encoder.layers[0].attention.key.weight.mul_(2.0)
            bert.bert.encoder.layers[1].feed_forward.up.bias.add_(1.0)
        with caplog.at_level(logging.WARNING, "regard"):
            found = run(bert, given)
            run(bert, given)
        said = [each.message for each in caplog.records if "call it again" in each.message]
        assert len(said) == 2, "once for each of the two layers"
        regard.optimize(bert, "bf16")
        again = run(bert, given)
        for one, other in zip(found, again, strict=True):
            torch.testing.assert_close(one, other, atol=NEAR["bf16"], rtol=0.0)

    def test_for_another_type(self, bert: Any) -> None:
        given = inputs(bert)
        wanted = run(copy.deepcopy(bert).double(), given)
        regard.optimize(bert, "bf16").double()
        for one, other in zip(run(bert, given), wanted, strict=True):
            assert torch.equal(one, other)

    def test_for_another_device(self, bert: Any) -> None:
        regard.optimize(bert, "fp32").to("meta")
        given = {name: each.to("meta") for name, each in inputs(bert).items()}
        with torch.inference_mode():
            assert bert(**given).logits.is_meta

    def test_for_adapters(self, bert: Any) -> None:
        given = inputs(bert)
        regard.optimize(bert, "fp32")
        regard.add_adapter(bert, regard.LoraConfig(r=4, init_lora_weights=False))
        found = run(bert, given)
        regard.deoptimize(bert)
        assert_near(found, run(bert, given), "fp32")

    @pytest.mark.parametrize("asked", ["output_attentions", "output_hidden_states"])
    def test_asking_for_more_changes_no_answer(self, bert: Any, asked: str) -> None:
        given = inputs(bert)
        regard.optimize(bert, "bf16")
        wanted = run(bert, given)[0]
        with torch.inference_mode():
            found = bert(**given, **{asked: True})
        assert torch.equal(found.logits, wanted)
        assert len(found[-1]) >= 2


@needs_bf16
class TestCopies:
    def test_a_copy_is_fast_and_its_own(self, bert: Any) -> None:
        regard.optimize(bert, "bf16")
        given = inputs(bert)
        wanted = run(bert, given)[0]
        twin = copy.deepcopy(bert)
        assert torch.equal(run(twin, given)[0], wanted)
        assert len(packed(twin)) == len(packed(bert))
        with torch.no_grad():
            for each in twin.parameters():
                each.zero_()
        assert not torch.equal(run(twin, given)[0], wanted)
        assert torch.equal(run(bert, given)[0], wanted)

    def test_a_copy_of_what_changed_has_changed(self, bert: Any) -> None:
        regard.optimize(bert, "bf16")
        with torch.no_grad():
            for each in bert.parameters():
                each.mul_(1.5)
        wanted = run(bert, inputs(bert))[0]
        assert torch.equal(run(copy.deepcopy(bert), inputs(bert))[0], wanted)

    def test_what_is_saved_is_the_model(self, bert: Any, tmp_path: Any) -> None:
        names = [*bert.state_dict()]
        wanted = run(bert, inputs(bert))[0]
        regard.optimize(bert, "bf16")
        assert [*bert.state_dict()] == names
        bert.save_pretrained(tmp_path)
        again = regard.BertForSequenceClassification.from_pretrained(tmp_path)
        assert torch.equal(run(again, inputs(bert))[0], wanted)


class TestBadInput:
    def test_an_unknown_precision(self, bert: Any) -> None:
        with pytest.raises(ValueError, match=r"'int9'; did you mean 'int8'.*auto, fp32"):
            regard.optimize(bert, "int9")

    def test_a_processor_without_bytes(self, bert: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("regard.runtime.precision.multiplies", lambda _: False)
        with pytest.raises(ValueError, match=r"VNNI.*precision='auto'"):
            regard.optimize(bert, "int8")
        assert regard.precision_of(regard.optimize(bert)) == "fp32", "auto takes what is fast"

    def test_a_processor_without_bf16(self, bert: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("regard.runtime.precision._computes_bf16", lambda _: False)
        with pytest.raises(ValueError, match=r"bf16 needs.*precision='auto'"):
            regard.optimize(bert, "bf16")
        assert regard.precision_of(regard.optimize(bert)) == "fp32"

    def test_a_model_that_does_not_say_what_it_reads(self) -> None:
        model = torch.nn.Sequential(torch.nn.Linear(64, 64))
        with pytest.raises(regard.ConfigError, match=r"Sequential.*inputs="):
            regard.optimize(model)
        given = torch.randn(5, 64)
        with torch.inference_mode():
            wanted = model(given)
            regard.optimize(model, "fp32", {"input": given})
            assert packed(model)
            torch.testing.assert_close(model(given), wanted)

    def test_not_a_number_stays_none(self) -> None:
        """A row that holds what is no number has no numbers; the others are as they were."""
        linear = torch.nn.Linear(64, 64)
        given = torch.randn(5, 64)
        for precision in ("fp32", *["bf16"] * BF16, *["int8"] * multiplies_int8(CPU)):
            model = regard.optimize(torch.nn.Sequential(linear).eval(), precision, {"input": given})
            damaged = given.clone()
            damaged[2, 7] = torch.nan
            with torch.inference_mode():
                found, wanted = model(damaged), model(given)
            assert found[2].isnan().all()
            kept = [0, 1, 3, 4]
            assert torch.equal(found[kept], wanted[kept])
            regard.deoptimize(model)
