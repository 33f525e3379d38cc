"""The verbs that write: text, file and standard input in, text as it comes or JSON out."""

import json

import pytest

import regard
from regard.cli import chat, writing

from .. import writers


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("decoder")
    model, tokenizer = writers.decoder()
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    path = tmp_path_factory.mktemp("translator")
    model, tokenizer = writers.seq2seq()
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def pipe(folder):
    return regard.pipeline("text-generation", folder, max_new_tokens=6)


def parsed(done):
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_generate(run, folder, pipe):
    done = run("generate", "Zwei", "The dog", "-m", folder, "-n", 6)
    texts = [writing.shown(found[0]["generated_text"]) for found in pipe(["Zwei", "The dog"])]
    assert done.stdout == "\n\n".join(texts) + "\n"
    assert done.stderr.count("cut after 6 tokens; for more: --max-new-tokens") == 2
    records = parsed(run("generate", "Zwei", "The dog", "-m", folder, "-n", 6, "--json"))
    assert [each["text"] + each["generated_text"] for each in records] == [
        found[0]["generated_text"] for found in pipe(["Zwei", "The dog"])
    ]


def test_generate_from_a_file_and_with_options(run, folder, lines_file, lines, fails):
    records = parsed(run("generate", "-f", lines_file, "-m", folder, "-n", 3, "--json"))
    assert [each["text"] for each in records] == lines
    draw = ("--temperature", 2, "--top-p", 0.9, "--seed", 5, "-n", 5, "-m", folder)
    one, other = (run("generate", "a", *draw, "--set", "top_k=9").stdout for _ in range(2))
    assert one == other
    beams = run("generate", "a", "-m", folder, "-n", 4, "--set", "num_beams=2")
    assert beams.exit_code == 0
    assert beams.stdout.startswith("a")
    assert "no option 'top_b'" in fails("generate", "a", "-m", folder, "--set", "top_b=1")
    assert "leave it out" in fails("generate", "a", "-m", folder, "--temperature", 0)


def test_generate_up_to_a_string(run, folder, pipe):
    whole = pipe("Zwei", return_full_text=False)[0]["generated_text"]
    done = run("generate", "Zwei", "-m", folder, "--stop", whole[2:4], "-n", 6)
    assert done.stdout == writing.shown("Zwei" + whole[: whole.index(whole[2:4])]) + "\n"


def test_chat_with_messages(run, folder):
    done = run("chat", "Who?", "And?", "-m", folder, "-n", 5, "-s", "Short!", "--json")
    talk = regard.pipeline("chat", folder, system="Short!", max_new_tokens=5).conversation()
    answers = [talk.ask("Who?"), talk.ask("And?")]
    assert parsed(done) == [
        {"message": "Who?", "answer": answers[0]},
        {"message": "And?", "answer": answers[1]},
    ]
    piped = run("chat", "-m", folder, "-n", 5, "-s", "Short!", input="Who?\nAnd?\n")
    assert piped.stdout == "".join(f"{writing.shown(answer)}\n" for answer in answers)
    assert piped.stderr.count("per second") == 2


def test_chat_needs_tokens_that_are_sure(fails, folder):
    assert "see regard generate" in fails("chat", "a", "-m", folder, "--set", "num_beams=2")


class Typed:
    """Someone at a terminal, who now and then presses Ctrl-C."""

    def __init__(self, *lines):
        self.lines = [*lines]

    def __call__(self, prompt):
        if not self.lines:
            raise EOFError
        return self.lines.pop(0)


def test_a_conversation_at_a_terminal(monkeypatch, folder, capsys):
    talk = regard.pipeline("chat", folder).conversation(max_new_tokens=5)
    monkeypatch.setattr("builtins.input", Typed("Who?", " ", "/what now", "/clear", "And?"))
    chat._talk(talk)
    out, err = capsys.readouterr()
    assert "unknown command '/what'" in err
    assert "forgotten" in err
    assert [each["role"] for each in talk.messages] == ["user", "assistant"]
    assert talk.messages[0]["content"] == "And?"
    assert writing.shown(talk.messages[1]["content"]) in out
    monkeypatch.setattr("builtins.input", Typed("/exit", "never read"))
    chat._talk(talk)


def test_ctrl_c_stops_the_answer_and_not_the_conversation(monkeypatch, folder, capsys):
    talk = regard.pipeline("chat", folder).conversation(max_new_tokens=12, min_new_tokens=9)
    monkeypatch.setattr("builtins.input", Typed("Who?", "And?"))
    written = []

    def emit(text):
        written.append(text)
        if len(written) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(writing, "emit", emit)
    chat._talk(talk)
    assert "stopped" in capsys.readouterr().err
    asked = [each["content"] for each in talk.messages if each["role"] == "user"]
    assert asked == ["Who?", "And?"]
    assert all(each["content"] for each in talk.messages)


def test_a_history_that_is_too_long_is_no_end(monkeypatch, folder, capsys):
    talk = regard.pipeline("chat", folder).conversation(max_new_tokens=5)
    monkeypatch.setattr("builtins.input", Typed("why " * 90, "/clear", "Who?"))
    chat._talk(talk)
    assert "the model reads at most 96; leave out its beginning" in capsys.readouterr().err
    assert talk.messages[0]["content"] == "Who?"


def test_summarize(run, tmp_path, fails, folder):
    text = "Prices rose again. A dog barked.\n\nPrices rose by six percent. Prices may rise again."
    path = tmp_path / "news.txt"
    path.write_text(text)
    (found,) = parsed(run("summarize", "--sentences", 1, "-f", path, "--json"))
    assert found["text"] == str(path)
    assert found["summary_text"].startswith("Prices")
    done = run("summarize", "-x", "--sentences", 1, input=text)
    assert done.stdout == found["summary_text"] + "\n"
    two = run("summarize", "One. Two.", "Three.", "-x")
    assert two.stdout == "One. Two.\n\nThree.\n"
    (written,) = parsed(run("summarize", text, "-m", folder, "-n", 5, "--json"))
    assert written["text"] == text
    assert "max_new_tokens is for summaries" in fails("summarize", "a", "-x", "-n", 5)
    path.write_bytes(b"ab\xff")
    assert "not UTF-8 (invalid start byte at byte 3)" in fails("summarize", "-f", path, "-x")
    path.write_text(" \n")
    assert "there is no text in it" in fails("summarize", "-f", path, "-x")


def test_translate(run, translator):
    pipe = regard.pipeline("translation", translator, max_new_tokens=5)
    expected = [found["translation_text"] for found in pipe(["Zwei", "Hunde"])]
    done = run("translate", "Zwei", "Hunde", "-m", translator, "-n", 5)
    assert done.stdout == "".join(f"{writing.shown(each)}\n" for each in expected)
    records = parsed(run("translate", "-m", translator, "-n", 5, "--json", input="Zwei\nHunde\n"))
    assert [each["translation_text"] for each in records] == expected
    assert [each["text"] for each in records] == ["Zwei", "Hunde"]
    assert run("translate", "a").exit_code == 2


def test_what_is_written_does_no_harm():
    assert writing.shown("a\tb\n\x1b[31m") == "a    b\n?[31m"
