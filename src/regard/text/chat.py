"""The half of a tokenizer that knows conversations: chat templates, read, chosen and applied."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from tokenizers import Encoding

from regard.errors import listing
from regard.text.encoding import BatchEncoding
from regard.text.options import OPTION_NAMES, check_names
from regard.text.stored import StoredTokenizer

Message = dict[str, Any]

#: The names under which conversations carry what a model thought before it answered; templates
#: read the first, or the second.
_REASONING = ("reasoning_content", "thinking", "reasoning")

#: Marks the end of a message that is to be continued. Its space shows whether a template trims.
_HERE = "\ufdd0to-be-continued\ufdd1 "

#: What a conversation is tokenized with: its template writes the special tokens itself.
_CALL: dict[str, Any] = {"add_special_tokens": False, "truncation": False}


class ChatTokenizer(StoredTokenizer):
    """A tokenizer that turns conversations into the inputs of a model."""

    def __call__(self, text: Any, **options: Any) -> BatchEncoding:
        """Turn texts into the inputs of a model."""
        raise NotImplementedError

    def apply_chat_template(
        self,
        conversation: Any,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool | str = False,
        tokenize: bool = True,
        *,
        return_dict: bool = True,
        return_assistant_tokens_mask: bool = False,
        tokenizer_kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Write a conversation as the model was trained to read it, and tokenize that.

        Args:
            conversation: Messages such as ``{"role": "user", "content": "Hello"}``, or a batch of
                such lists. What is None in a message counts as absent.
            tools: JSON schemas of functions that the model may call.
            documents: What the model may refer to, such as ``{"title": ..., "text": ...}``.
            chat_template: A Jinja template, or the name of one of the tokenizer's; the default is
                its own.
            add_generation_prompt: Whether to end with what begins an answer.
            continue_final_message: Whether to end within the last message, so that the model goes
                on with it; a string names the field to continue in place of ``"content"``.
            tokenize: False returns the text.
            return_dict: False returns the ids alone.
            return_assistant_tokens_mask: Add ``assistant_masks``, 1 for each token of what the
                template marks as ``{% generation %}``.
            tokenizer_kwargs: Options of the call, in one mapping.
            options: Options of the call, such as ``padding``, ``truncation`` (False unless given),
                ``max_length`` and ``return_tensors``; and further variables of the template, such
                as ``enable_thinking``.

        Returns:
            The columns of a call; with ``return_dict=False`` the ids, with ``tokenize=False`` the
            text; for a batch, of each conversation.

        Raises:
            TypeError: A message is not a mapping of plain data, or there is no such option and the
                template has no such variable.
            ValueError: There is no template, or it refuses the conversation.
        """
        if return_assistant_tokens_mask and not (tokenize and return_dict):
            raise ValueError("assistant_masks are a column: leave tokenize and return_dict True")
        source = self.get_chat_template(chat_template, tools)
        _check(source, add_generation_prompt, continue_final_message, return_assistant_tokens_mask)
        asked = {n: value for n, value in options.items() if n in OPTION_NAMES}
        call = {**_CALL, **(tokenizer_kwargs or {}), **asked}
        extra = {n: value for n, value in options.items() if n not in OPTION_NAMES}
        known: dict[str, Any] = {"tools": tools, "documents": documents, **self.special_tokens_map}
        known["add_generation_prompt"] = add_generation_prompt
        conversations, batched = _read(conversation, source)
        chats = _render(source, conversations, known, extra, continue_final_message)
        texts = [chat.text for chat in chats] if batched else chats[0].text
        if not tokenize:
            return texts
        found = self(texts, **call)
        if return_assistant_tokens_mask:
            masks = [_mask(chat, row) for chat, row in zip(chats, found[:], strict=True)]
            kind = call.get("return_tensors")
            found["assistant_masks"] = masks if batched or kind else masks[0]
            found.convert_to_tensors(kind)
        return found if return_dict else found["input_ids"]

    def get_chat_template(
        self, chat_template: str | None = None, tools: Sequence[Mapping[str, Any]] | None = None
    ) -> str:
        """Return the template that `apply_chat_template` takes for these arguments.

        Raises:
            ValueError: There is none, or none of that name.
        """
        own = self.chat_template
        named = own if isinstance(own, dict) else {} if own is None else {"default": own}
        if chat_template is None:
            chat_template = "tool_use" if tools is not None and "tool_use" in named else "default"
        elif "{" in chat_template:  # a template; the names have no braces
            return chat_template
        if chat_template in named:
            return named[chat_template]
        known = f"its templates are {listing(named)}" if named else "it has none"
        raise ValueError(
            f"this tokenizer has no chat template {chat_template!r}: {known}; pass "
            f"chat_template= with a Jinja template, or set tokenizer.chat_template"
        )


@dataclass(frozen=True)
class Chat:
    """A conversation as text; `spans` are the characters of its generation blocks."""

    text: str
    spans: list[tuple[int, int]]


def _read(conversation: Any, source: str) -> tuple[list[list[Message]], bool]:
    """Return plain copies of the conversations, and whether they are a batch."""
    many = isinstance(conversation, list | tuple)
    chats = list(cast("Sequence[Any]", conversation)) if many else []
    batched = bool(chats) and isinstance(chats[0], list | tuple)
    found: list[list[Message]] = []
    for row, chat in enumerate(chats if batched else [conversation]):
        where = f"conversation {row}" if batched else "the conversation"
        if not isinstance(chat, list | tuple):
            raise TypeError(f"{where} is {type(chat).__name__}; wanted a list of messages")
        messages = cast("Sequence[Any]", chat)
        if not messages:
            raise ValueError(f"{where} is empty; wanted at least one message")
        found.append([_message(m, f"{where}, message {n}", source) for n, m in enumerate(messages)])
    return found, batched


def _message(message: Any, where: str, source: str) -> Message:
    if not isinstance(message, Mapping):
        raise TypeError(
            f"{where} is {type(message).__name__}; wanted a mapping such as "
            f"{{'role': 'user', 'content': 'Hello'}}"
        )
    plain = cast("Message", _plain(message, where))
    found = {name: value for name, value in plain.items() if value is not None}
    if "role" in source and "role" not in found:
        raise ValueError(f"{where} has no 'role'; it has {listing(map(str, found)) or 'nothing'}")
    return found


def _plain(value: Any, where: str) -> Any:
    """Return a copy of `value` that is made of Python's own plain types."""
    if value is None or isinstance(value, bool):
        return value
    # One with methods of its own, such as an enum, loses them.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {_plain(name, where): _plain(item, where) for name, item in items}
    if isinstance(value, list | tuple):
        return [_plain(item, where) for item in cast("Sequence[Any]", value)]
    raise TypeError(
        f"{where} holds {type(value).__name__}; a chat template takes text, numbers, lists and "
        f"mappings"
    )


def _check(source: str, prompt: bool, field: bool | str, mask: bool) -> None:
    """Refuse what cannot be asked for together, or of this template."""
    if prompt and field:
        raise ValueError(
            "add_generation_prompt begins a new message and continue_final_message goes on with "
            "the last one; choose one of them"
        )
    if mask and field:
        raise ValueError("a message that is to be continued has no assistant mask; choose one")
    if mask and not re.search(r"{%[-+]?\s*generation\b", source):
        raise ValueError(
            "the chat template has no {% generation %} block, so return_assistant_tokens_mask "
            "cannot tell what the assistant wrote; pass a chat_template that has one"
        )


def _render(
    source: str,
    conversations: list[list[Message]],
    known: Mapping[str, Any],
    extra: Mapping[str, Any],
    field: bool | str,
) -> list[Chat]:
    """Return the conversations as text.

    Args:
        source: The template.
        conversations: What it gets as ``messages``, one after the other.
        known: Variables of which it may read any.
        extra: Variables that it must know.
        field: What to continue of the last message, or False.
    """
    from regard.text import sandbox  # here, because few programs need Jinja

    template = sandbox.compile_template(source)
    check_names("the chat template", extra, sandbox.variables_of(source))
    given = {name: _plain(value, name) for name, value in {**known, **extra}.items()}
    name = "content" if field is True else field
    found: list[Chat] = []
    for messages in conversations:
        final = _mark_end(messages[-1], name) if name else ""
        text = sandbox.run(template, {**given, "messages": [*map(_with_reasoning, messages)]})
        found.append(_chat(_until_end(text, final) if name else text, sandbox.START, sandbox.END))
    return found


def _with_reasoning(message: Message) -> Message:
    """Return `message` with what the model thought under each name that templates read."""
    thought = next((message[name] for name in _REASONING if name in message), None)
    if thought is None:
        return message
    return {"thinking": thought, **message, "reasoning_content": thought}


def _mark_end(message: Message, field: str) -> str:
    """Mark where the text in `field` of a message ends; return that text."""
    holder, key = message, field
    if isinstance(message.get(field), list):  # of parts, some of which may be text
        parts = cast("list[Any]", message[field])
        texts = [cast("Message", p) for p in parts if isinstance(p, dict) and "text" in p]
        holder, key = texts[-1] if texts else {}, "text"
    text = holder.get(key)
    if not isinstance(text, str):
        raise ValueError(
            f"continue_final_message: the last message has no text in {field!r} to go on with"
        )
    holder[key] = text + _HERE
    return text


def _until_end(text: str, final: str) -> str:
    """Return `text` up to where `final`, the text to continue, ends in it."""
    at = text.rfind(_HERE.rstrip())
    if at < 0 or final.strip() not in text:
        raise ValueError(
            f"continue_final_message: the chat template does not write the last message, which is "
            f"{final!r}, or writes it otherwise"
        )
    # Where the template trims the message, trailing space is not part of it.
    kept = text[:at] if text.startswith(_HERE, at) else text[:at].rstrip()
    # A template may write the message more than once.
    return kept.replace(_HERE, "").replace(_HERE.rstrip(), "")


def _chat(text: str, start: str, end: str) -> Chat:
    """Return `text` without the marks around generation blocks, and where those were."""
    parts: list[str] = []
    spans: list[tuple[int, int]] = []
    length = begun = 0
    for part in re.split(f"({start}|{end})", text):
        if part == start:
            begun = length
        elif part == end:
            spans.append((begun, length))
        else:
            parts.append(part)
            length += len(part)
    return Chat("".join(parts), spans)


def _mask(chat: Chat, encoding: Encoding) -> list[int]:
    """Return 1 for each token that has a character of a generation block."""
    return [
        int(any(first < end and start < last for start, end in chat.spans))
        for first, last in encoding.offsets
    ]
