"""Options: what is asked for is done, and what cannot be done is said."""

import json

import pytest
import torch

import regard
from regard.errors import ConfigError
from regard.generation.config import LATER, GenerationConfig

PROMPT = [5, 9, 30, 8, 14, 21, 7]


class Letters:
    """A tokenizer whose tokens are letters, but for one that is two of them."""

    def decode(self, ids, skip_special_tokens=False):
        return "".join("xy" if n == 30 else chr(ord("A") + n) for n in map(int, ids))


def new(model, **options):
    return model.generate([PROMPT], **options)[0, 1 if model.reads_source else len(PROMPT) :]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("max_newtokens", "max_new_tokens"),
        ("temperature_", "temperature"),
        ("attentionmask", "attention_mask"),
    ],
)
def test_an_unknown_option_names_the_nearest(gpt2, name, hint):
    with pytest.raises(TypeError, match=f"{name}.*{hint}"):
        gpt2.generate([PROMPT], **{name: 1})
    with pytest.raises(TypeError, match="option 'max_len'; did you mean"):
        GenerationConfig(max_len=3)


@pytest.mark.parametrize("name", LATER)
def test_what_is_not_built_is_said(gpt2, name):
    with pytest.raises(ConfigError, match=f"{name}=3: generation does not know how"):
        gpt2.generate([PROMPT], **{name: 3})
    assert GenerationConfig(**{name: None}) == GenerationConfig()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature is 0"),
        ({"temperature": "hot"}, "temperature is 'hot'; it must be float"),
        ({"top_p": 1.5}, "top_p is 1.5; it must be from 0 to 1"),
        ({"num_beams": 0}, "num_beams is 0"),
        ({"max_new_tokens": -1}, "max_new_tokens is -1"),
        ({"early_stopping": "soon"}, "early_stopping is 'soon'; it must be one of True, False"),
        ({"num_assistant_tokens_schedule": "slow"}, "is 'slow'; it must be one of 'constant'"),
        ({"num_beams": 4, "num_beam_groups": 3}, "must divide num_beams"),
        ({"num_return_sequences": 2}, "num_return_sequences is 2, but without do_sample"),
        ({"num_beams": 2, "num_return_sequences": 3}, "num_return_sequences"),
        ({"bad_words_ids": [5]}, "bad_words_ids is"),
        ({"bad_words_ids": [[]]}, "bad_words_ids has a run of no tokens"),
        ({"bad_words_ids": [[40]]}, "bad_words_ids has token 40, which is outside 0 to 39"),
        ({"forced_bos_token_id": 99}, "forced_bos_token_id has token 99"),
        ({"suppress_tokens": [-1]}, "suppress_tokens has token -1"),
        ({"stop_strings": "x"}, "pass tokenizer="),
        ({"stop_strings": ["a", ""], "tokenizer": Letters()}, "an empty text"),
        ({"seed": [1, 2]}, "1 rows need as many seeds or generators; found 2"),
        ({"seed": 1, "generator": torch.Generator()}, "not both"),
        ({"decoder_input_ids": [[4]]}, "for models that read a source"),
        ({"suppress_tokens": [*range(40)]}, "the rules leave no token"),
        ({"prefix_allowed_tokens_fn": lambda row, ids: []}, "allows no token after row 0"),
        ({"attention_mask": torch.ones(1, 7)}, "a list of lists has no padding"),
    ],
)
def test_options_that_do_not_fit(gpt2, options, message):
    with pytest.raises(ValueError, match=message):
        gpt2.generate([PROMPT], **options)


def test_nothing_to_continue(gpt2, seq2seq):
    with pytest.raises(ValueError, match="row 1 has no tokens to continue"):
        gpt2.generate([PROMPT, []])
    with pytest.raises(ValueError, match="row 0 has no tokens to continue"):
        gpt2.generate(torch.ones(1, 0, dtype=torch.long))
    hidden = torch.tensor([[1, 1], [0, 0]])
    with pytest.raises(ValueError, match="row 1 has no tokens to continue"):
        gpt2.generate(torch.ones(2, 2, dtype=torch.long), attention_mask=hidden)
    with pytest.raises(ValueError, match="no rows"):
        gpt2.generate([])
    with pytest.raises(ValueError, match="source 1 has no tokens"):
        seq2seq.generate([PROMPT, []])
    with pytest.raises(ValueError, match="needs input_ids"):
        seq2seq.generate()
    with pytest.raises(TypeError, match="integer token ids"):
        gpt2.generate(torch.ones(1, 3))


def test_without_a_prompt_a_text_begins_with_its_first_token(gpt2):
    assert torch.equal(gpt2.generate(max_new_tokens=5), gpt2.generate([[1]], max_new_tokens=5))
    gpt2.generation_config = gpt2.generation_config.replace(bos_token_id=None)
    try:
        with pytest.raises(ValueError, match="names no bos_token_id"):
            gpt2.generate()
    finally:
        gpt2.generation_config = gpt2.generation_config.replace(bos_token_id=1)


def test_a_prompt_past_the_context(gpt2, mistral, told):
    with pytest.raises(ValueError, match="row 0 has 49 tokens and the model reads at most 48"):
        gpt2.generate([[5] * 49], max_new_tokens=1)
    with pytest.raises(ValueError, match="row 0 has 48 tokens, and the model's context allows 48"):
        gpt2.generate([[5] * 48])
    assert gpt2.generate([[5] * 47], max_new_tokens=9, eos_token_id=[]).shape == (1, 48)
    assert told == ["row 0 ends at 48 tokens, the model's context"]
    told.clear()
    # Rotary positions go on, beyond what was trained.
    assert mistral.generate([[5] * 49], max_new_tokens=3, eos_token_id=[]).shape == (1, 52)
    assert told == ["row 0 is longer than the 48 tokens of training"]


def test_without_a_length_texts_go_on_until_they_end(model):
    assert len(new(model, eos_token_id=[])) == 48 - (1 if model.reads_source else len(PROMPT))
    found = new(model, eos_token_id=[*range(10, 30)])
    assert 10 <= found[-1] < 30
    assert not [n for n in found[:-1].tolist() if 10 <= n < 30]


def test_lengths(model):
    prompt = 1 if model.reads_source else len(PROMPT)
    assert len(new(model, max_new_tokens=4, eos_token_id=[])) == 4
    assert len(new(model, max_length=20, eos_token_id=[])) == 20 - prompt
    assert len(new(model, max_length=20, max_new_tokens=2, eos_token_id=[])) == 2
    for options, rows in (
        ({}, 2),
        ({"num_beams": 2}, 2),
        ({"num_beams": 3, "num_return_sequences": 2}, 4),
        ({"do_sample": True, "num_return_sequences": 3}, 6),
    ):
        found = model.generate([PROMPT, PROMPT], max_new_tokens=0, **options)
        assert found.tolist() == [[1] if model.reads_source else PROMPT] * rows
    if not model.reads_source:
        with pytest.raises(ValueError, match="has 7 tokens, and max_length allows 5"):
            model.generate([PROMPT], max_length=5)


def test_stop_strings(gpt2):
    free = new(gpt2, max_new_tokens=20, eos_token_id=[])
    text = Letters().decode(free)
    for start, end in ((3, 4), (4, 7), (0, 2)):
        stop = text[start:end]
        stops = {"stop_strings": stop, "tokenizer": Letters()}
        found = new(gpt2, max_new_tokens=20, eos_token_id=[], **stops)
        written = Letters().decode(found)
        assert text.startswith(written)
        assert stop in written
        assert stop not in Letters().decode(found[:-1])
    never = new(gpt2, max_new_tokens=20, eos_token_id=[], stop_strings=["??"], tokenizer=Letters())
    assert torch.equal(never, free)


def test_a_stop_string_of_the_prompt_does_not_count(gpt2):
    stop = Letters().decode(PROMPT[2:4])
    found = new(gpt2, max_new_tokens=6, eos_token_id=[], stop_strings=stop, tokenizer=Letters())
    assert torch.equal(found, new(gpt2, max_new_tokens=6, eos_token_id=[]))


def test_no_time_left(gpt2):
    assert len(new(gpt2, max_time=0.0, eos_token_id=[])) == 1
    assert len(new(gpt2, max_time=1e6, max_new_tokens=5, eos_token_id=[])) == 5


def test_criteria_see_one_row_each(gpt2):
    seen = []

    def third(ids, scores):
        seen.append(ids.shape)
        return ids.shape[1] >= len(PROMPT) + 3

    assert len(new(gpt2, stopping_criteria=[third], eos_token_id=[])) == 3
    assert seen == [(1, len(PROMPT) + n) for n in (1, 2, 3)]


def test_scores_that_are_no_numbers(make):
    for value in (float("nan"), float("inf")):
        model = make("gpt2")
        with torch.no_grad():
            model.base_model.decoder.norm.bias.fill_(value)
        for options in ({}, {"num_beams": 2}, {"do_sample": True}):
            with pytest.raises(ValueError, match="row 0: the model's best score after 7 tokens"):
                model.generate([PROMPT], **options)
        assert len(new(model, max_new_tokens=3, remove_invalid_values=True, eos_token_id=[])) == 3


def test_a_processor_that_gives_something_else(gpt2):
    with pytest.raises(TypeError, match=r"must return scores of shape \(1, 40\); found \(1, 3\)"):
        gpt2.generate([PROMPT], logits_processor=[lambda ids, scores: scores[:, :3]])
    with pytest.raises(TypeError, match="found NoneType"):
        gpt2.generate([PROMPT], logits_processor=[lambda ids, scores: None])


def test_a_model_that_continues_nothing():
    with pytest.raises(AttributeError, match="generate"):
        regard.GPT2Model.generate  # noqa: B018
    assert not hasattr(regard.BertForMaskedLM, "generate")


def test_what_more_is_returned(gpt2):
    rows = [PROMPT, [6], [9, 9]]
    options = {"max_new_tokens": 8, "eos_token_id": [*range(12, 26)], "repetition_penalty": 1.5}
    plain = gpt2.generate(rows, **options)
    found = gpt2.generate(
        rows, return_dict_in_generate=True, output_scores=True, output_logits=True, **options
    )
    assert torch.equal(found.sequences, plain)
    steps = plain.shape[1] - len(PROMPT)
    assert len(found.scores) == len(found.logits) == steps
    for step, (scores, logits) in enumerate(zip(found.scores, found.logits, strict=True)):
        assert scores.shape == logits.shape == (3, 40)
        live = (scores != -torch.inf).any(1)
        assert torch.equal(live, (logits != -torch.inf).any(1))
        assert torch.equal(scores.argmax(1)[live], plain[live, len(PROMPT) + step])
        assert not torch.equal(scores[live], logits[live])
    assert not live.all(), "all rows went on to the end"
    assert "scores" not in gpt2.generate(rows, return_dict_in_generate=True, max_new_tokens=2)


def test_a_configuration_file(tmp_path):
    config = GenerationConfig(
        num_beams=3, do_sample=True, eos_token_id=[4, 5], sequence_bias={(3, 4): -1.0}
    )
    config.save_pretrained(tmp_path)
    assert GenerationConfig.from_pretrained(tmp_path).to_dict() == config.to_dict()
    assert GenerationConfig.from_pretrained(tmp_path, num_beams=2).num_beams == 2
    file = tmp_path / "generation_config.json"
    held = json.loads(file.read_text())
    assert held["sequence_bias"] == [[[3, 4], -1.0]]
    file.write_text(json.dumps(held | {"transformers_version": "9", "cache_implementation": "x"}))
    again = GenerationConfig.from_pretrained(tmp_path)
    assert again.extra == {"transformers_version": "9", "cache_implementation": "x"}
    assert again.to_dict() == config.to_dict() | again.extra
    file.write_text(json.dumps({"guidance_scale": 1.5}))
    with pytest.raises(ConfigError, match="guidance_scale"):
        GenerationConfig.from_pretrained(tmp_path)


def test_old_checkpoints_have_options_in_their_configuration(make):
    config = make("seq2seq").config
    old = type(config).from_dict(config.to_dict() | {"num_beams": 6, "max_length": 9, "foo": 1})
    found = regard.MBartForConditionalGeneration(old).generation_config
    assert (found.num_beams, found.max_length, found.decoder_start_token_id) == (6, 9, 1)
    assert found.extra == {}


def test_a_text_that_has_no_start(seq2seq):
    plain = seq2seq.generation_config
    seq2seq.generation_config = plain.replace(decoder_start_token_id=None, bos_token_id=None)
    try:
        with pytest.raises(ValueError, match="names no decoder_start_token_id"):
            seq2seq.generate([PROMPT])
        begun = seq2seq.generate([PROMPT], decoder_input_ids=[[1]], max_new_tokens=4)
        with pytest.raises(ValueError, match="2 texts were begun for 1 sources"):
            seq2seq.generate([PROMPT], decoder_input_ids=[[1], [1]])
    finally:
        seq2seq.generation_config = plain
    assert torch.equal(begun, seq2seq.generate([PROMPT], max_new_tokens=4))
