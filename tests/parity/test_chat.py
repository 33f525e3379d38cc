"""Conversations against transformers: equal text, ids, masks, and equal refusals."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import transformers as transformers_package
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regard.text import AutoTokenizer, Tokenizer

from .chat_templates import CHATML, GENERATION, MARKS, QWEN, TEMPLATES
from .tokenizer_texts import SENTENCES, train_byte_level

# Its own annotations are too narrow for options that are held in a dict.
transformers: Any = transformers_package

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "What the weather is in <a> place & at 'some' \"time\", in °C",
            "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
        },
    }
]
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"place": "Zürich"}}}
DOCUMENTS = [{"title": "One", "text": "ä"}, {"title": "Two", "text": "b"}]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = train_byte_level(tmp_path_factory.mktemp("chat") / "gpt2", MARKS)
    config = {
        "tokenizer_class": "GPT2Tokenizer",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<s>",
        "pad_token": "<pad>",
        "additional_special_tokens": MARKS[3:],
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session")
def ours(folder: Path) -> Tokenizer:
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="session")
def theirs(folder: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(folder)


texts = st.one_of(
    st.text(max_size=30),
    st.lists(
        st.sampled_from([*SENTENCES, *MARKS, " ", "\n", "{{ x }}", "{% raw %}", "<think>", "'\""]),
        max_size=4,
    ).map("".join),
)
messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool"]), "content": texts},
    optional={"tool_calls": st.sampled_from([None, [CALL]]), "thinking": texts},
)
conversations = st.lists(messages, min_size=1, max_size=8)
#: What most templates want: perhaps a system message, then user and assistant in turn.
turns = st.tuples(st.booleans(), st.lists(texts, min_size=1, max_size=6)).map(
    lambda drawn: [
        *([{"role": "system", "content": drawn[1][-1]}] if drawn[0] else []),
        *(
            {"role": ("user", "assistant")[n % 2], "content": text}
            for n, text in enumerate(drawn[1])
        ),
    ]
)
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


def agree(ours: Tokenizer, theirs: Any, conversation: Any, **options: Any) -> Any:
    """Check that both give the same, or that both refuse; return it, or None."""
    wanted, refusal = attempt(theirs, conversation, options)
    found, message = attempt(ours, conversation, options)
    if refusal is not None:
        assert isinstance(message, ValueError)
        assert re.match("the chat template|continue_final_message", str(message))
        assert str(refusal) in str(message) or type(refusal).__name__ != "TemplateError"
        return None
    assert message is None
    if hasattr(wanted, "keys"):
        assert {name: plain(found[name]) for name in found} == {
            name: plain(wanted[name]) for name in wanted
        }
    else:
        assert plain(found) == plain(wanted)
    return wanted


def attempt(tokenizer: Any, conversation: Any, options: Any) -> tuple[Any, Exception | None]:
    try:
        return tokenizer.apply_chat_template(conversation, **options), None
    except Exception as error:  # noqa: BLE001, RUF100  (whatever a template raises)
        return None, error


def plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=60, deadline=None, suppress_health_check=QUIET)
@given(
    conversation=st.one_of(conversations, turns),
    prompt=st.booleans(),
    tools=st.sampled_from([None, TOOLS]),
    documents=st.sampled_from([None, DOCUMENTS]),
)
def test_random_conversations(
    ours: Tokenizer,
    theirs: Any,
    name: str,
    conversation: Any,
    prompt: bool,
    tools: Any,
    documents: Any,
):
    asked: dict[str, Any] = {
        "chat_template": TEMPLATES[name],
        "add_generation_prompt": prompt,
        "tools": tools,
        "documents": documents,
    }
    agree(ours, theirs, conversation, tokenize=False, **asked)
    agree(ours, theirs, conversation, **asked)


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_takes_a_usual_conversation(ours: Tokenizer, theirs: Any, name: str):
    conversation = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "  Hello,  world \n"},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": "Weather?"},
    ]
    asked: dict[str, Any] = {"chat_template": TEMPLATES[name], "add_generation_prompt": True}
    text = agree(ours, theirs, conversation, tokenize=False, **asked)
    assert "Be brief." in text
    assert "Weather?" in text
    assert agree(ours, theirs, conversation, **asked)["input_ids"]


@pytest.mark.parametrize("name", sorted(TEMPLATES.keys() - {"kitchen-sink"}))
@settings(max_examples=40, deadline=None, suppress_health_check=QUIET)
@given(conversation=turns)
def test_continued_messages(ours: Tokenizer, theirs: Any, name: str, conversation: Any):
    asked: dict[str, Any] = {"continue_final_message": True, "chat_template": TEMPLATES[name]}
    agree(ours, theirs, conversation, tokenize=False, **asked)


def test_a_message_of_parts_is_continued(ours: Tokenizer, theirs: Any):
    template = "{% for p in messages[0].content %}[{{ p.text }}]{% endfor %}"
    parts = [{"type": "text", "text": "one "}, {"type": "image"}, {"type": "text", "text": "two "}]
    conversation = [{"role": "user", "content": parts}]
    asked: dict[str, Any] = {"chat_template": template, "tokenize": False}
    wanted = agree(ours, theirs, conversation, continue_final_message=True, **asked)
    assert wanted == "[one ][][two "


def test_thoughts_are_continued(ours: Tokenizer, theirs: Any):
    template = "{% for m in messages %}<{{ m.reasoning_content }}|{{ m.content }}>{% endfor %}"
    asked: dict[str, Any] = {"chat_template": template, "tokenize": False}
    for field in ("reasoning_content", "thinking", "reasoning"):
        message = {"role": "assistant", "content": "So", field: "I think "}
        wanted = agree(ours, theirs, [message], continue_final_message=field, **asked)
        assert wanted == "<I think "
        agree(ours, theirs, [message], continue_final_message=True, **asked)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": True, "return_tensors": "pt"},
        {"padding": True, "return_tensors": "np", "return_dict": False},
        {"padding": "max_length", "max_length": 30, "truncation": True},
        {"max_length": 5},
        {"truncation": True, "max_length": 9},
        {"return_dict": False},
        {"tokenize": False},
        {
            "tokenizer_kwargs": {"return_offsets_mapping": True, "padding_side": "left"},
            "padding": True,
        },
    ],
    ids=str,
)
def test_batches_and_options(ours: Tokenizer, theirs: Any, options: dict[str, Any]):
    batch = [
        [{"role": "user", "content": "One"}],
        [{"role": "user", "content": "Two words"}, {"role": "assistant", "content": None}],
        [{"role": "system", "content": "S"}, {"role": "user", "content": "ä 🙂"}],
    ]
    template = (
        "{% for m in messages %}{{ m.role }}: {{ m.content if m.content is defined }};{% endfor %}"
    )
    for conversation in (batch, batch[0], batch[1]):
        asked: dict[str, Any] = {"chat_template": template, **options}
        agree(ours, theirs, conversation, **asked)


@settings(max_examples=40, deadline=None, suppress_health_check=QUIET)
@given(
    batch=st.lists(
        st.lists(
            st.fixed_dictionaries(
                {
                    "role": st.sampled_from(["user", "assistant"]),
                    # A character that the vocabulary splits: see the test below.
                    "content": st.text(alphabet="abc \n.<|é", min_size=1, max_size=20),
                }
            ),
            min_size=1,
            max_size=4,
        ),
        min_size=1,
        max_size=3,
    ),
    options=st.sampled_from(
        [
            {},
            {"padding": True, "return_tensors": "pt"},
            {"padding": True, "padding_side": "left", "return_tensors": "np"},
            {"truncation": True, "max_length": 12},
        ]
    ),
)
def test_assistant_masks(ours: Tokenizer, theirs: Any, batch: Any, options: dict[str, Any]):
    asked: dict[str, Any] = {
        "chat_template": GENERATION,
        "return_assistant_tokens_mask": True,
        "tokenizer_kwargs": {k: v for k, v in options.items() if k == "padding_side"},
        **{k: v for k, v in options.items() if k != "padding_side"},
    }
    agree(ours, theirs, batch, **asked)
    if "padding" not in options:
        agree(ours, theirs, batch[0], **asked)


def test_a_template_of_the_configuration(ours: Tokenizer, folder: Path, tmp_path: Path):
    # What is saved here is read there, and the other way round; one template or several.
    conversation = [{"role": "user", "content": "Hello"}]
    several = {"default": CHATML, "tool_use": QWEN}
    for number, template in enumerate((CHATML, several)):
        mine = AutoTokenizer.from_pretrained(folder, chat_template=template)
        saved = tmp_path / f"mine{number}"
        mine.save_pretrained(saved)
        other = transformers.AutoTokenizer.from_pretrained(saved)
        assert other.chat_template == template
        again = AutoTokenizer.from_pretrained(saved)
        for tools in (None, TOOLS):
            agree(mine, other, conversation, tools=tools)
            agree(again, other, conversation, tools=tools)
        other.save_pretrained(tmp_path / f"theirs{number}")
        back = AutoTokenizer.from_pretrained(tmp_path / f"theirs{number}")
        assert back.chat_template == template
        # A folder that was saved over holds what was saved last.
        ours.save_pretrained(saved)
        assert AutoTokenizer.from_pretrained(saved).chat_template is None
        other.save_pretrained(tmp_path / f"old{number}", save_jinja_files=False)
        assert AutoTokenizer.from_pretrained(tmp_path / f"old{number}").chat_template == template


# Where the reference differs, and why.


def test_all_parts_of_the_last_character_are_the_assistants(ours: Tokenizer, theirs: Any):
    # The reference looks for the one token at the last character. Where that character is several
    # tokens, it leaves out all but the first, and a model is not taught to finish it.
    template = (
        "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}"
    )
    conversation = [{"role": "assistant", "content": "a\ue000"}]
    asked: dict[str, Any] = {"chat_template": template + "{{ messages[0].role }}"}
    asked["return_assistant_tokens_mask"] = True
    found = ours.apply_chat_template(conversation, **asked)
    wanted = theirs.apply_chat_template(conversation, **asked)
    assert found.input_ids == wanted.input_ids
    assert found.assistant_masks[:4] == [1, 1, 1, 1]
    assert wanted.assistant_masks[:4] == [1, 1, 0, 0]


def test_a_generation_block_within_a_set_block(ours: Tokenizer, theirs: Any):
    # The reference counts characters that were written before; a set block writes its own later.
    block = "{% set x %}{% generation %}ab{% endgeneration %}{% endset %}"
    template = "{{ messages[0].role }}" + block + "cd{{ x }}"
    conversation = [{"role": "user", "content": ""}]
    asked: dict[str, Any] = {"chat_template": template, "return_assistant_tokens_mask": True}
    found = ours.apply_chat_template(conversation, **asked)
    marked = [
        number for number, mask in zip(found.input_ids, found.assistant_masks, strict=True) if mask
    ]
    assert ours.decode(marked) == "ab"
    wanted = theirs.apply_chat_template(conversation, **asked)
    assert wanted.assistant_masks != found.assistant_masks


def test_a_message_that_is_written_twice_is_continued(ours: Tokenizer, theirs: Any):
    # The reference leaves its own marker in the text.
    template = "{{ messages[-1].content }}, I said: {{ messages[-1].content }}."
    asked: dict[str, Any] = {"chat_template": template, "continue_final_message": True}
    conversation = [{"role": "user", "content": "So"}]
    found = ours.apply_chat_template(conversation, tokenize=False, **asked)
    assert found == "So, I said: So"
    wanted = theirs.apply_chat_template(conversation, tokenize=False, **asked)
    assert wanted == "SoCONTINUE_FINAL_MESSAGE_TAG , I said: So"
