"""Chat templates: which one counts, what they are given, what they cannot do, and what is said."""

import enum
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regard.errors import CheckpointError
from regard.text import AutoTokenizer, BertTokenizer
from regard.text.sandbox import MAX_STEPS

HELLO = [{"role": "user", "content": "the fox"}, {"role": "assistant", "content": "a b"}]
PLAIN = "{% for m in messages %}{{ m.role }}: {{ m.content }}. {% endfor %}"


def write(
    tokenizer: BertTokenizer, template: str, conversation: Any = HELLO, **options: Any
) -> Any:
    return tokenizer.apply_chat_template(
        conversation, chat_template=template, tokenize=False, **options
    )


def test_a_conversation_becomes_text_and_ids(tokenizer: BertTokenizer):
    tokenizer.chat_template = "{% for m in messages %}{{ cls_token }}{{ m.content }}{% endfor %}"
    assert tokenizer.apply_chat_template(HELLO, tokenize=False) == "[CLS]the fox[CLS]a b"
    found = tokenizer.apply_chat_template(HELLO)
    # The template writes the special tokens, and the call adds none.
    assert found.input_ids == [2, 5, 8, 2, 13, 14]
    assert found.attention_mask == [1] * 6
    assert tokenizer.apply_chat_template(HELLO, return_dict=False) == found.input_ids
    batch = tokenizer.apply_chat_template([HELLO, HELLO[:1]], padding=True, return_tensors="pt")
    assert batch.input_ids.tolist() == [found.input_ids, [2, 5, 8, 0, 0, 0]]
    assert tokenizer.apply_chat_template([HELLO], tokenize=False) == ["[CLS]the fox[CLS]a b"]


def test_a_mask_of_what_the_assistant_wrote(tokenizer: BertTokenizer):
    template = (
        "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }} {% else %}"
        "{% generation %}{{ m.content }} {% endgeneration %}{% endif %}{% endfor %}c"
    )
    asked: dict[str, Any] = {"chat_template": template, "return_assistant_tokens_mask": True}
    found = tokenizer.apply_chat_template(HELLO * 2, **asked)
    assert found.tokens() == ["the", "fox", "a", "b"] * 2 + ["c"]
    assert found.assistant_masks == [0, 0, 1, 1] * 2 + [0]
    padded = tokenizer.apply_chat_template(
        [HELLO, HELLO * 2], padding=True, padding_side="left", return_tensors="pt", **asked
    )
    assert padded.assistant_masks.tolist()[0] == [0] * 6 + [1, 1, 0]


def test_which_template_counts(tokenizer: BertTokenizer):
    with pytest.raises(ValueError, match=r"no chat template 'default': it has none; pass"):
        tokenizer.apply_chat_template(HELLO)
    tokenizer.chat_template = {"default": "A{{ 1 }}", "tool_use": "B{{ 1 }}"}
    assert tokenizer.apply_chat_template(HELLO, tokenize=False) == "A1"
    assert tokenizer.apply_chat_template(HELLO, tools=[], tokenize=False) == "B1"
    assert write(tokenizer, "tool_use") == "B1"
    assert write(tokenizer, "C{{ 1 }}") == "C1"
    assert tokenizer.get_chat_template("tool_use") == "B{{ 1 }}"
    with pytest.raises(ValueError, match=r"'tool_us': its templates are default, tool_use"):
        write(tokenizer, "tool_us")
    tokenizer.chat_template = {"rag": "{{ 1 }}"}
    with pytest.raises(ValueError, match=r"no chat template 'default'"):
        tokenizer.apply_chat_template(HELLO)


def test_what_a_template_is_given(tokenizer: BertTokenizer):
    class Role(enum.StrEnum):
        USER = "user"

    given = ({"role": Role.USER, "content": None, "score": np.float64(2.5), "n": True},)
    assert (
        write(tokenizer, "{{ messages }}", given) == "[{'role': 'user', 'score': 2.5, 'n': True}]"
    )
    assert write(tokenizer, "{{ tools }} {{ documents }}") == "None None"
    assert write(tokenizer, "{{ add_generation_prompt }}", add_generation_prompt=True) == "True"
    assert write(tokenizer, "{{ thinking }}{{ cls_token }}", thinking=False) == "False[CLS]"
    assert write(tokenizer, "{{ cls_token }}", cls_token="<s>") == "<s>"
    assert write(tokenizer, "{{ messages | length }}{{ pad }}") == "2"
    # What was given is never changed.
    thought = {"role": "user", "content": ["a", {"text": "b"}], "thinking": "hm", "x": None}
    before = json.dumps(thought)
    template = "{{ messages[0].reasoning_content }} {{ messages[0].content[1].text }}"
    assert write(tokenizer, template, [thought], continue_final_message=True) == "hm b"
    assert json.dumps(thought) == before


@pytest.mark.parametrize(
    ("conversation", "kind", "message"),
    [
        ("Hello", TypeError, "the conversation is str; wanted a list of messages"),
        (HELLO[0], TypeError, "the conversation is dict; wanted a list of messages"),
        ([], ValueError, "the conversation is empty"),
        ([HELLO, []], ValueError, "conversation 1 is empty"),
        ([HELLO, "Hello"], TypeError, "conversation 1 is str"),
        (["Hello"], TypeError, "message 0 is str; wanted a mapping"),
        ([*HELLO, {"from": "a", "value": "b"}], ValueError, "2 has no 'role'; it has from, value"),
        ([{"role": "user", "content": object()}], TypeError, "holds object; a chat template takes"),
        ([{"role": "user", "content": np.zeros(2)}], TypeError, "holds ndarray"),
    ],
    ids=lambda value: str(value).split(" at 0x")[0],
)
def test_wrong_conversations(
    tokenizer: BertTokenizer, conversation: Any, kind: type[Exception], message: str
):
    with pytest.raises(kind, match=message):
        write(tokenizer, PLAIN, conversation)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"add_generation_promt": True}, TypeError, "did you mean 'add_generation_prompt'"),
        ({"tools": [print]}, TypeError, "tools holds builtin_function_or_method"),
        (
            {"add_generation_prompt": True, "continue_final_message": True},
            ValueError,
            "choose one of them",
        ),
        ({"continue_final_message": "thoughts"}, ValueError, "no text in 'thoughts'"),
        ({"return_assistant_tokens_mask": True}, ValueError, "leave tokenize and return_dict"),
    ],
    ids=lambda value: str(value).split(" at 0x")[0],
)
def test_wrong_options(
    tokenizer: BertTokenizer, options: dict[str, Any], kind: type[Exception], message: str
):
    with pytest.raises(kind, match=message):
        write(tokenizer, PLAIN + "{{ add_generation_prompt }}", **options)


def test_a_mask_needs_a_template_with_blocks(tokenizer: BertTokenizer):
    tokenizer.chat_template = PLAIN
    with pytest.raises(ValueError, match=r"no \{% generation %\} block"):
        tokenizer.apply_chat_template(HELLO, return_assistant_tokens_mask=True)
    tokenizer.chat_template = "{% generation %}{{ messages[0].content }}{% endgeneration %}"
    with pytest.raises(ValueError, match="no assistant mask"):
        tokenizer.apply_chat_template(
            HELLO, return_assistant_tokens_mask=True, continue_final_message=True
        )


def test_a_last_message_that_the_template_drops(tokenizer: BertTokenizer):
    for template in ("{{ messages[0].content }}", "{{ messages[-1].content | upper }}"):
        with pytest.raises(ValueError, match="does not write the last message, which is 'a b'"):
            write(tokenizer, template, continue_final_message=True)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ 1 }}\n\n{% for %}", "line 3: Expected an expression"),
        ("{{ 1 }}\n{% if messages %}", "line 2: Unexpected end of template"),
        ("{{ 1 }}\n{{ messages[0].a.b }}", r"line 2: 'dict object' has no attribute 'a'"),
        ("\n\n\n{{ raise_exception('Roles must alternate') }}", "line 4: Roles must alternate$"),
        ("{{ 'a' + 1 }}", r"line 1: .*\(TypeError\)"),
        ("{{ 1 }}\n{% include 'other' %}", "line 2: no loader"),
        ("{{ 'a' | nothing }}", "No filter named 'nothing'"),
    ],
)
def test_mistakes_of_templates_have_their_line(
    tokenizer: BertTokenizer, template: str, message: str
):
    with pytest.raises(ValueError, match=f"the chat template.*{message}"):
        write(tokenizer, template)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__ }}",
        "{{ ''['__class__'] }}",
        "{{ (''|attr('__class__')).__mro__ }}",
        "{{ messages.__init__.__globals__ }}",
        "{{ raise_exception.__globals__['json'] }}",
        "{{ strftime_now.__code__ }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ namespace(__html__=messages) }}",
        "{% set ns = namespace() %}{% set ns.__html__ = messages %}",
        "{% do messages.append(1) %}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(role='x') }}",
        "{{ messages[0].pop('role') }}",
        "{{ dict.__subclasses__() }}",
        "{{ '{0.__class__.__mro__}'.format(1) }}",
        "{{ self.__init__ }}{{ self._TemplateReference__context.environment }}",
        "{{ open('/etc/passwd') }}",
        "{% import 'os' as os %}{{ os }}",
        "{{ lipsum() }}",
    ],
)
def test_what_a_template_cannot_do(tokenizer: BertTokenizer, template: str):
    try:
        text = write(tokenizer, template)
    except ValueError as error:
        assert "the chat template" in str(error)  # noqa: PT017  (either is a refusal)
    else:
        assert text == ""


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
            f"more than {MAX_STEPS} steps",
        ),
        ("{% for a in range(1000000000) %}{% endfor %}", "Range too big"),
        (
            "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}"
            "{{ f(60) }}",
            f"more than {MAX_STEPS} steps",
        ),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"),
        ("{{ 9 ** 9 ** 9 ** 9 }}", "too large"),
        ("{{ 'a' * 10 ** 10 }}", "too large"),
        ("{{ 10 ** 10 * [1] }}", "too large"),
    ],
    ids=lambda value: str(value).split(" at 0x")[0],
)
def test_a_template_ends(tokenizer: BertTokenizer, template: str, message: str):
    """Without the budget it would be years; that it ends is that this test does."""
    with pytest.raises(ValueError, match=message):
        write(tokenizer, template)
    assert write(tokenizer, PLAIN) == "user: the fox. assistant: a b. "


def test_the_marks_of_blocks_are_nobodys_text(tokenizer: BertTokenizer):
    odd = "\ufdd0\ufdd1<>[]\ufdd0to-be-continued\ufdd1 x"
    conversation = [{"role": "user", "content": odd}]
    assert write(tokenizer, "{{ messages[0].content }}", conversation) == odd


def test_saving_and_loading(tokenizer: BertTokenizer, tmp_path: Path):
    tokenizer.chat_template = "ä{{ messages[0].content }}\n"
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again.chat_template == tokenizer.chat_template
    paths = tokenizer.save_pretrained(tmp_path)
    assert (tmp_path / "chat_template.jinja") in paths
    assert "chat_template" not in json.loads((tmp_path / "tokenizer_config.json").read_text())
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.chat_template == tokenizer.chat_template
    assert AutoTokenizer.from_pretrained(tmp_path, chat_template=None).chat_template is None
    # The file counts for more than the configuration.
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "chat_template": "{{ 1 }}"})
    )
    assert AutoTokenizer.from_pretrained(tmp_path).chat_template == tokenizer.chat_template
    again.chat_template = None
    again.save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).chat_template is None


@pytest.mark.parametrize("value", [1, [], ["a"], [{"name": "a"}], {"a": 1}, [{"template": "a"}]])
def test_a_damaged_configuration(tokenizer: BertTokenizer, tmp_path: Path, value: Any):
    tokenizer.save_pretrained(tmp_path)
    config = {"tokenizer_class": "BertTokenizer", "chat_template": value}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"chat_template is .*; wanted a Jinja template"):
        AutoTokenizer.from_pretrained(tmp_path)


def test_a_damaged_file(tokenizer: BertTokenizer, tmp_path: Path):
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(CheckpointError, match=r"chat_template\.jinja: not UTF-8"):
        AutoTokenizer.from_pretrained(tmp_path)
