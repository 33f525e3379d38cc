"""Every model class that the reference has for our families is one of ours too."""

import importlib
import inspect

import pytest
import transformers

import regard
from regard.models.auto import FAMILIES, family

#: Classes that we leave out, each with its reason.
LEFT_OUT: dict[str, str] = {
    "BartPretrainedModel": "an older name of BartPreTrainedModel",
    "PretrainedBartModel": "an older name of BartPreTrainedModel",
}
#: Classes that no auto class of ours leads to.
BY_NAME = {"T5EncoderModel", "MT5EncoderModel"}
#: The families of the reference: the Transformer of the paper is none.
SHARED = [model_type for model_type in FAMILIES if model_type in transformers.CONFIG_MAPPING]


def references(model_type):
    """Return the reference's model classes for a family."""
    name = FAMILIES[model_type].rpartition(".")[2]
    module = importlib.import_module(f"transformers.models.{name}.modeling_{name}")
    return {
        name: each
        for name, each in inspect.getmembers(module, inspect.isclass)
        if name in module.__all__
        and issubclass(each, transformers.PreTrainedModel)
        and not name.endswith("PreTrainedModel")
    }


@pytest.mark.parametrize("model_type", SHARED)
def test_we_have_every_model_that_the_reference_has(model_type):
    wanted = references(model_type).keys() - LEFT_OUT.keys()
    assert wanted
    assert not {name for name in wanted if not hasattr(regard, name)}
    found = {
        each.__name__ for each in (family(model_type).base, *family(model_type).heads.values())
    }
    assert wanted - BY_NAME <= found


@pytest.mark.parametrize("model_type", SHARED)
def test_auto_classes_choose_as_the_references_do(model_type):
    config = family(model_type).config()
    reference = type(transformers.AutoConfig.for_model(model_type))
    chosen = 0
    for name in (each for each in regard.__all__ if each.startswith("AutoModel")):
        theirs = getattr(transformers, name)._model_mapping.get(reference, None)
        if theirs is not None:
            first = theirs[0] if isinstance(theirs, tuple) else theirs
            ours = getattr(regard, name)._choose(family(model_type), config.architectures)
            assert ours.__name__ == first.__name__, name
            chosen += 1
    assert chosen > 1


def test_only_the_papers_transformer_is_ours_alone():
    assert {*FAMILIES} - {*SHARED} == {"transformer"}
