"""Generation, token for token as the reference decodes the same random checkpoints."""

import pytest
import torch

from .generators import DECODERS, FAMILIES, SEQ2SEQ, both, close, prompts

NEW = 16
slow = pytest.mark.slow
WITH_SCORES = {"return_dict_in_generate": True, "output_scores": True, "output_logits": True}
BEAMS = {
    "two": {"num_beams": 2},
    "three-early": {
        "num_beams": 3,
        "length_penalty": 0.4,
        "early_stopping": True,
        "no_repeat_ngram_size": 2,
    },
    "four-never": {"num_beams": 4, "length_penalty": 2.0, "early_stopping": "never"},
    "five-short": {"num_beams": 5, "length_penalty": -0.5, "no_repeat_ngram_size": 3},
}


def in_turn(firsts, seconds):
    """Return all pairs; the fast run has each first with one second, these in turn."""
    return [
        pytest.param(first, second, marks=[] if at % len(seconds) == place else [slow])
        for at, first in enumerate(firsts)
        for place, second in enumerate(seconds)
    ]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Return both models of a family, made once."""
    made = {}

    def make(family):
        if family not in made:
            made[family] = both(family, tmp_path_factory.mktemp(family))
        return made[family]

    return make


def new_tokens(sequences, family):
    return sequences[:, 1 if family in SEQ2SEQ else prompts().shape[1] :]


def compare(models, family, rows=None, **options):
    """Decode with both; the reference's rows that have ended are not compared by their scores."""
    theirs, ours = models(family)
    ids = prompts() if rows is None else rows
    options = {"max_new_tokens": NEW, **WITH_SCORES, **options}
    expected = theirs.generate(ids, **{"do_sample": False, **options})
    found = ours.generate(ids, **options)
    assert torch.equal(found.sequences, expected.sequences)
    if expected.get("sequences_scores") is not None:
        close(found.sequences_scores, expected.sequences_scores)
    for one, other in zip(found.scores, expected.scores, strict=True):
        live = (one != -torch.inf).any(1)
        close(one[live], other[live])
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy(models, family):
    found = compare(models, family)
    assert len(new_tokens(found.sequences, family).unique()) > 4, "this model tests nothing"


@pytest.mark.parametrize("family", DECODERS)
def test_prompts_padded_on_the_left(models, family):
    if family in ("bert", "electra", "roberta", "xlm-roberta", "camembert") or family.endswith(
        "-decoder"
    ):
        pytest.skip("the reference counts their positions from the padding")
    mask = torch.ones_like(prompts())
    mask[0, :3] = mask[1, :6] = mask[3, :1] = 0
    rows = prompts().masked_fill(mask == 0, 3)
    compare(models, family, rows, attention_mask=mask)


@pytest.mark.parametrize("family", SEQ2SEQ)
def test_sources_padded_on_the_right(models, family):
    mask = torch.ones_like(prompts())
    mask[0, 4:] = mask[1, 1:] = mask[3, 6:] = 0
    rows = prompts().masked_fill(mask == 0, 3)
    compare(models, family, rows, attention_mask=mask)
    compare(models, family, rows, attention_mask=mask, num_beams=3)


@pytest.mark.parametrize(("family", "beams"), in_turn(FAMILIES, BEAMS))
def test_beams(models, family, beams):
    options = BEAMS[beams]
    found = compare(models, family, num_return_sequences=options["num_beams"], **options)
    assert found.sequences.shape[0] == len(prompts()) * options["num_beams"]


@pytest.mark.parametrize(("family", "beams"), in_turn(FAMILIES, (1, 2)))
def test_forced_tokens(models, family, beams):
    """The first after a single token, and the last."""
    rows = prompts(length=1) if family in DECODERS else prompts()
    found = compare(
        models, family, rows, num_beams=beams, forced_bos_token_id=33, forced_eos_token_id=9
    ).sequences
    assert (found[:, 1] == 33).all()
    longest = found[found[:, -1] != 3]  # those that came to their greatest length
    assert len(longest)
    assert (longest[:, -1] == 9).all()


RULES = {
    "repetition": {"repetition_penalty": 1.7},
    "ngrams": {"no_repeat_ngram_size": 1},
    "bad words": {"bad_words_ids": [[7], [9, 11], [2], [12, 13, 14]]},
    "bias": {"sequence_bias": {(8,): 2.5, (10, 4): -3.0, (20,): -10.0, (21,): 4.0}},
    "suppress": {"suppress_tokens": [5, 6, 30, 31]},
    "begin suppress": {"begin_suppress_tokens": [*range(10, 40)]},
    "forced ends": {"forced_eos_token_id": [2, 9]},
    "forced end": {"forced_eos_token_id": 2},
    "min length": {"min_length": 12, "eos_token_id": [2, 11, 15, 16, 17]},
    "min new": {"min_new_tokens": 6, "eos_token_id": [2, 11, 15, 16, 17]},
    "decay": {"exponential_decay_length_penalty": (3, 1.4), "eos_token_id": [2, 11]},
    "ends": {"eos_token_id": [*range(2, 20)]},
    "normalised": {"renormalize_logits": True, "repetition_penalty": 1.3},
    "all": {
        "repetition_penalty": 1.2,
        "no_repeat_ngram_size": 3,
        "bad_words_ids": [[7, 8]],
        "min_new_tokens": 3,
        "suppress_tokens": [6],
        "begin_suppress_tokens": [12],
    },
}
SOURCE_RULES = {
    "source repetition": {"encoder_repetition_penalty": 1.6},
    "source ngrams": {"encoder_no_repeat_ngram_size": 1},
    "forced start": {"forced_bos_token_id": 33},
    "another start": {"decoder_start_token_id": 44, "forced_bos_token_id": 17},
    "suppressed after forced start": {
        "forced_bos_token_id": 33,
        "begin_suppress_tokens": [*range(4, 30)],
    },
}


@pytest.mark.parametrize(("rule", "beams"), in_turn(RULES, (1, 3)))
@pytest.mark.parametrize("family", [pytest.param("qwen3", marks=slow), "mbart"])
def test_rules(models, family, rule, beams):
    if rule == "forced ends" and beams > 1:
        pytest.skip("two tokens with the same score: either may go first")
    compare(models, family, num_beams=beams, **RULES[rule])


@pytest.mark.parametrize("family", ["mbart", "t5-gated"])
@pytest.mark.parametrize(("rule", "beams"), in_turn(SOURCE_RULES, (1, 3)))
def test_rules_of_a_source(models, family, rule, beams):
    compare(models, family, num_beams=beams, **SOURCE_RULES[rule])


def test_a_target_that_is_begun(models):
    theirs, ours = models("mbart")
    begun = torch.tensor([[1, 9, 8], [1, 5, 7], [1, 30, 31], [1, 2, 12]])
    for beams in (1, 3):
        options = {"decoder_input_ids": begun, "max_new_tokens": NEW, "num_beams": beams}
        expected = theirs.generate(prompts(), do_sample=False, **options)
        assert torch.equal(ours.generate(prompts(), **options), expected)


def test_a_callers_own_functions(models):
    """They are called as the reference calls them: whole rows of ids, and scores to change."""
    theirs, ours = models("llama")

    def no_neighbours(ids, scores):
        near = torch.stack([ids[:, -1], ids[:, -1] + 1], 1).clamp(max=scores.shape[1] - 1)
        return scores.scatter(1, near, -torch.inf)

    def after_17(ids, scores, **_):
        return (ids == 17).any(1)

    def even(row, ids):
        return range(row % 2, 61, 2)

    for beams in (1, 3):
        options = {
            "max_new_tokens": NEW,
            "num_beams": beams,
            "logits_processor": [no_neighbours],
            "stopping_criteria": [after_17],
            "prefix_allowed_tokens_fn": even,
        }
        import transformers

        lists = {
            "logits_processor": transformers.LogitsProcessorList([no_neighbours]),
            "stopping_criteria": transformers.StoppingCriteriaList([after_17]),
        }
        expected = theirs.generate(prompts(), do_sample=False, **options | lists)
        assert torch.equal(ours.generate(prompts(), **options), expected)


def test_options_of_a_checkpoint(models, tmp_path):
    """generation_config.json counts, and what it says is saved again."""
    theirs, _ = models("qwen2")
    theirs.generation_config.update(
        num_beams=3, max_new_tokens=9, no_repeat_ngram_size=2, eos_token_id=[2, 12]
    )
    try:
        theirs.save_pretrained(tmp_path)
        ours = type(models("qwen2")[1]).from_pretrained(tmp_path)
        expected = theirs.generate(prompts(), do_sample=False)
        assert torch.equal(ours.generate(prompts()), expected)
        ours.save_pretrained(tmp_path / "again")
        again = type(ours).from_pretrained(tmp_path / "again")
        assert again.generation_config == ours.generation_config
        assert torch.equal(
            type(theirs).from_pretrained(tmp_path / "again").generate(prompts()), expected
        )
    finally:
        theirs.generation_config.update(
            num_beams=None, max_new_tokens=None, no_repeat_ngram_size=None, eos_token_id=2
        )


SAMPLING = {
    "temperature": ({"temperature": 0.7}, "TemperatureLogitsWarper", (0.7,)),
    "top_k": ({"top_k": 7}, "TopKLogitsWarper", (7,)),
    "top_p": ({"top_p": 0.6}, "TopPLogitsWarper", (0.6,)),
    "min_p": ({"min_p": 0.2}, "MinPLogitsWarper", (0.2,)),
    "typical_p": ({"typical_p": 0.4}, "TypicalLogitsWarper", (0.4,)),
    "epsilon_cutoff": ({"epsilon_cutoff": 0.02}, "EpsilonLogitsWarper", (0.02,)),
    "eta_cutoff": ({"eta_cutoff": 0.03}, "EtaLogitsWarper", (0.03,)),
}


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("rule", SAMPLING)
def test_rules_of_sampling(rule, beams):
    """Each keeps what the reference's keeps; beams keep a token beside two end tokens."""
    import transformers

    from regard.generation.config import GenerationConfig
    from regard.generation.plan import make_plan
    from regard.generation.rules import apply

    options, name, arguments = SAMPLING[rule]
    config = GenerationConfig(
        do_sample=True, num_beams=beams, eos_token_id=[1, 2], **{"top_k": 0, **options}
    )
    plan = make_plan(config, 50, torch.device("cpu"))
    assert len(plan.rules) == 1
    least = {} if rule == "temperature" or beams == 1 else {"min_tokens_to_keep": 3}
    if rule == "eta_cutoff":
        least["device"] = "cpu"
    theirs = getattr(transformers, name)(*arguments, **least)
    torch.manual_seed(0)
    for width in (0.1, 1.0, 4.0, 12.0):
        scores = torch.randn(200, 50) * width
        scores[:, 7] = -torch.inf
        expected = theirs(torch.zeros(200, 1, dtype=torch.long), scores.clone())
        assert torch.equal(apply(plan.rules, scores, [], 0), expected)
