"""What a constraint asks for is what comes out, whatever the model would rather write."""

import json
import os
import random
import re

import pytest
import tokenizers
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

import regard
from regard.generation.batching import GenerationScheduler
from regard.generation.constrain import Choice, Json, Regex

#: How many schemas the slow test draws.
COUNT = int(os.environ.get("REGARD_SCHEMAS", "300"))
TEXTS = ['{"a": 1, "b": [true, false, null]}', "yes, no; 3.25/7 maybe", "naïve café 東京"] * 20
SPECIAL = ["<s>", "</s>", "<pad>", "<unk>"]


def byte_level():
    rust = Tokenizer(models.BPE())
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rust.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    rust.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=330, special_tokens=SPECIAL, initial_alphabet=letters)
    )
    return rust


def unigram():
    rust = Tokenizer(models.Unigram())
    rust.pre_tokenizer, rust.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    letters = [chr(code) for code in range(33, 127)]
    trainer = trainers.UnigramTrainer(
        vocab_size=240, special_tokens=SPECIAL, unk_token="<unk>", initial_alphabet=letters
    )
    rust.train_from_iterator([*TEXTS, " ".join(letters)], trainer)
    return rust


def byte_fallback():
    """As Llama 2's: pieces, and a token for each byte that is no piece."""
    pieces = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += ["\u2581", *"abcdefyesno{}:,0123456789", "\u2581no", "ye", "\u2581\u2581"]
    rust = Tokenizer(
        models.BPE({p: n for n, p in enumerate(pieces)}, [], byte_fallback=True, unk_token="<unk>")
    )
    rust.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
    strip = decoders.Strip(" ", 1, 0)
    rust.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), strip]
    )
    return rust


KINDS = {"byte-level": byte_level, "unigram": unigram, "byte-fallback": byte_fallback}


@pytest.fixture(scope="module", params=KINDS)
def writer(request):
    """Return a model that writes nonsense, and its tokenizer."""
    return build(KINDS[request.param]())


@pytest.fixture(scope="module")
def plain_writer():
    return build(byte_level())


def build(rust, words=7):
    tokenizer = regard.Tokenizer(tokenizer_object=rust, bos_token="<s>", eos_token="</s>")
    torch.manual_seed(2)
    config = regard.GPT2Config(
        vocab_size=len(tokenizer) + words,  # more words than the tokenizer has
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=1500,
        bos_token_id=0,
        eos_token_id=1,
    )
    return regard.GPT2LMHeadModel(config).eval(), tokenizer


def write(writer, constraint, rows=4, **options):
    """Return the texts of continuations that have all come to an end."""
    model, tokenizer = writer
    options = {"do_sample": True, "seed": 3, "top_k": 0, "max_new_tokens": 400} | options
    found = model.generate([[0, 5]] * rows, constraint=constraint, tokenizer=tokenizer, **options)
    new = [row[2:].tolist() for row in found]
    assert all(1 in row for row in new), "a text was cut"
    return [tokenizer.decode(row, skip_special_tokens=True) for row in new]


WAYS = {
    "sampled": {"temperature": 2.0},
    "greedy": {"do_sample": False, "seed": None, "top_k": 50},
    "beams": {"do_sample": False, "seed": None, "num_beams": 3},
    "beam-sampled": {"num_beams": 2, "num_return_sequences": 2},
    "looked-up": {"prompt_lookup_num_tokens": 4, "max_matching_ngram_size": 1},
}


@pytest.mark.parametrize("way", WAYS)
def test_regular_expressions(writer, way):
    for pattern in (r"(yes|no), [0-9]{2,5}/[a-f]?", r"[0-9]{1,3}\/0", r"a{3}\n?e"):
        for text in write(writer, Regex(pattern), **WAYS[way]):
            assert re.fullmatch(pattern, text), (pattern, text)


def test_choices(writer):
    texts = ["yes", "no, never", "a.b|c", "no"]
    found = write(writer, Choice(texts), rows=40)
    assert {*found} == {*texts}


def test_a_schema(writer):
    schema = {
        "type": "object",
        "properties": {"a": {"type": "boolean"}, "b": {"enum": ["x", 3]}},
        "required": ["a", "b"],
        "additionalProperties": False,
    }
    for text in write(writer, Json(schema), rows=8):
        found = json.loads(text)
        assert [*found] == ["a", "b"]
        assert isinstance(found["a"], bool)
        assert found["b"] in ("x", 3)
        assert text == json.dumps(found)


def test_each_prompt_has_its_own(plain_writer):
    own = [Regex("a{5}"), Choice(["yes"]), Regex("[0-9]{3}")]
    found = write(plain_writer, own, rows=3)
    assert found[:2] == ["aaaaa", "yes"]
    assert re.fullmatch("[0-9]{3}", found[2])
    with pytest.raises(ValueError, match="3 constraints were given for 2 prompts"):
        write(plain_writer, own, rows=2)


def test_requests_of_a_scheduler(plain_writer):
    model, tokenizer = plain_writer
    scheduler = GenerationScheduler(model, slots=2)
    wanted = [Regex("a{5}"), Choice(["yes"]), Regex("b{2}"), Choice(["no"])]
    jobs = [scheduler.submit([0, 5], constraint=each, tokenizer=tokenizer) for each in wanted]
    assert {*scheduler.run()} == {*jobs}
    texts = [tokenizer.decode(job.result(0), skip_special_tokens=True) for job in jobs]
    assert texts == ["aaaaa", "yes", "bb", "no"]


def test_a_smaller_model_follows_too(plain_writer):
    other = build(byte_level())[0]
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.01)
    greedy = {"do_sample": False, "seed": None, "top_k": 50}
    plain = write(plain_writer, Regex("[a-z]{20,30}"), **greedy)
    found = write(plain_writer, Regex("[a-z]{20,30}"), assistant_model=other, **greedy)
    assert found == plain


def test_what_cannot_be_followed(plain_writer):
    model, tokenizer = plain_writer
    for constraint in (Regex("(a"), Json({"type": "thing"}), Choice([]), Choice([""])):
        with pytest.raises(ValueError, match=re.escape(type(constraint).__name__)):
            write(plain_writer, constraint)
    with pytest.raises(TypeError, match="a constraint needs tokenizer="):
        model.generate([[5]], constraint=Regex("a"))
    with pytest.raises(ValueError, match="needs an end token"):
        model.generate([[5]], constraint=Regex("a"), tokenizer=tokenizer, eos_token_id=[])
    pieces = tokenizers.Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    pieces.decoder = decoders.WordPiece()
    with pytest.raises(TypeError, match="not WordPiece"):
        model.generate(
            [[5]], constraint=Regex("a"), tokenizer=regard.Tokenizer(tokenizer_object=pieces)
        )
    unwritable = build(unigram())
    with pytest.raises(ValueError, match="row 0: the vocabulary cannot write what"):
        write(unwritable, Regex("\u0416"))


def test_a_forced_token_comes_before_the_text(seq2seq):
    rust = byte_level()
    tokenizer = regard.Tokenizer(tokenizer_object=rust, bos_token="<s>", eos_token="</s>")
    config = type(seq2seq.config).from_dict(seq2seq.config.to_dict() | {"vocab_size": 330})
    model = regard.MBartForConditionalGeneration(config).eval()
    options = {"forced_bos_token_id": 9, "forced_eos_token_id": 1, "eos_token_id": 1}
    found = model.generate([[5, 6]], constraint=Regex("ab"), tokenizer=tokenizer, **options)
    ids = found[0].tolist()
    assert (ids[1], ids[-1]) == (9, 1)
    assert tokenizer.decode(ids[2:-1]) == "ab"


def draw_schema(draw, depth=3):
    """Return a schema whose texts have bounds."""
    kinds = ["string", "integer", "boolean", "null", "enum"]
    kind = draw.choice([*kinds, "object", "array", "object", "anyOf"] if depth else kinds)
    if kind == "enum":
        return {"enum": draw.sample([1, "two", None, True, 3.5, '["}'], draw.randint(1, 4))}
    if kind == "anyOf":
        return {"anyOf": [draw_schema(draw, depth - 1) for _ in range(draw.randint(1, 3))]}
    found = {"type": kind}
    if kind == "string":
        found["maxLength"] = draw.randint(0, 8)
    elif kind == "integer":
        found |= {"minimum": draw.randint(-50, 5), "maximum": draw.randint(6, 2000)}
    elif kind == "array":
        few = draw.randint(0, 2)
        items = {"items": draw_schema(draw, depth - 1)}
        found |= items | {"minItems": few, "maxItems": few + draw.randint(0, 2)}
    elif kind == "object":
        names = draw.sample(["a", "b c", "Ä", 'q"', "naïve", "n\n"], draw.randint(0, 3))
        found["properties"] = {name: draw_schema(draw, depth - 1) for name in names}
        found["required"] = [name for name in names if draw.random() < 0.5]
        found["additionalProperties"] = False
    return found


def fits(value, schema):
    """Whether a value is valid by one of these schemas."""
    if "enum" in schema:
        return any(value == each and type(value) is type(each) for each in schema["enum"])
    if "anyOf" in schema:
        return any(fits(value, each) for each in schema["anyOf"])
    kind = schema["type"]
    if kind == "object":
        return (
            isinstance(value, dict)
            and {*schema["required"]} <= {*value} <= {*schema["properties"]}
            and all(fits(value[name], schema["properties"][name]) for name in value)
        )
    if kind == "array":
        length = isinstance(value, list) and schema["minItems"] <= len(value) <= schema["maxItems"]
        return length and all(fits(each, schema["items"]) for each in value)
    if kind == "string":
        return isinstance(value, str) and len(value) <= schema["maxLength"]
    if kind == "integer":
        return type(value) is int and schema["minimum"] <= value <= schema["maximum"]
    return value is None if kind == "null" else isinstance(value, bool)


@pytest.mark.parametrize("count", [15, pytest.param(COUNT, marks=pytest.mark.slow)])
def test_random_schemas(plain_writer, count):
    draw, seen = random.Random(count), set()
    for start in range(0, count, 15):
        schemas = [draw_schema(draw) for _ in range(min(15, count - start))]
        own = [Json(schema) for schema in schemas]
        texts = write(
            plain_writer, own, rows=len(own), seed=start, max_new_tokens=1490, temperature=0.7
        )
        for text, schema in zip(texts, schemas, strict=True):
            assert fits(json.loads(text), schema), (text, schema)
            seen.add(text)
    assert len(seen) > count // 3
