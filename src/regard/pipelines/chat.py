"""Conversations that are answered, one message after the other."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, cast

from regard.attention.cache import Cache
from regard.generation.stream import TextStream
from regard.models.generative import Generative
from regard.pipelines.text_generation import (
    Message,
    Prompt,
    TextGenerationPipeline,
    is_conversation,
)
from regard.text.tokenizer import Tokenizer


class ChatPipeline(TextGenerationPipeline):
    """Answers conversations.

    Args:
        model: A decoder that was trained for it.
        tokenizer: The model's tokenizer, with a chat template.
        system: What the model is told first, where a conversation does not say it itself.
        options: As for `TextGenerationPipeline`.
    """

    task: ClassVar[str] = "chat"
    when_too_long: ClassVar[str] = "leave out its beginning, or clear() the conversation"

    def __init__(
        self, model: Generative, tokenizer: Tokenizer, *, system: str | None = None, **options: Any
    ) -> None:
        super().__init__(model, tokenizer, **options)
        tokenizer.get_chat_template()  # an error where there is none
        self.system = system

    @classmethod
    def own_options(cls) -> frozenset[str]:
        """Return the options of `from_pretrained` that are the constructor's."""
        return super().own_options() | {"system"}

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride] - another task, another call
        self, conversations: Prompt | Iterable[Prompt], **options: Any
    ) -> Any:
        """Return the answer, ``{"role": "assistant", "content": ...}``, to each conversation.

        Args:
            conversations: Messages such as ``[{"role": "user", "content": "Hi"}]``, or a text,
                which is the user's first message; a list or a stream of either.
            options: As for `TextGenerationPipeline`.
        """
        one = isinstance(conversations, str) or is_conversation(conversations)
        given = cast("Iterable[Prompt]", [conversations] if one else conversations)
        asked = (self.messages_of(each) for each in given)
        answers = (_answer(each) for each in super().__call__(asked, **_new_only(options)))
        if one:
            return next(answers)
        return [*answers] if isinstance(conversations, Sequence) else answers

    def stream(self, text_input: Prompt, **options: Any) -> TextStream:
        """Return an iterator of the pieces of the answer to one conversation."""
        return super().stream(self.messages_of(text_input), **options)

    def conversation(self, **options: Any) -> "Conversation":
        """Return an empty conversation, which remembers what was said; `options` as for a call."""
        return Conversation(self, options)

    def messages_of(self, prompt: Prompt) -> list[Message]:
        """Return a conversation that begins with the system prompt, if there is one."""
        own: list[Message] = (
            [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [*prompt]
        )
        told = own[:1] and own[0].get("role") == "system"
        first = [] if told or self.system is None else [{"role": "system", "content": self.system}]
        return [*first, *own]


class Conversation:
    """A conversation with its history. What was read of it is kept, and not read again.

    Args:
        pipeline: Answers.
        options: As for a call of it.

    Attributes:
        messages: What was said so far.
        last: The stream of the last answer.
    """

    def __init__(self, pipeline: ChatPipeline, options: Mapping[str, Any]) -> None:
        self.pipeline, self.options = pipeline, dict(options)
        self.messages: list[Message] = []
        self.last: TextStream | None = None
        self.cache: Cache = pipeline.model.new_cache()

    def ask(self, text: str, **options: Any) -> str:
        """Return the answer to a message."""
        return "".join(self.stream(text, **options))

    def stream(self, text: str, **options: Any) -> Iterator[str]:
        """Yield the answer to a message in pieces.

        An answer that is left before its end counts as far as it was read, and its question only
        if there was a piece of it.
        """
        asked: list[Message] = [*self.messages, {"role": "user", "content": text}]
        given = {"past_key_values": self.cache, **self.options, **options}
        said: list[str] = []
        with self.pipeline.stream(asked, **given) as self.last:
            try:
                for piece in self.last:
                    said.append(piece)
                    yield piece
            finally:
                if said:
                    answer = {"role": "assistant", "content": "".join(said)}
                    self.messages = [*asked, answer]

    def clear(self) -> None:
        """Forget what was said."""
        self.messages, self.last = [], None
        self.cache = self.pipeline.model.new_cache()


def _new_only(options: dict[str, Any]) -> dict[str, Any]:
    if options.get("return_full_text"):
        raise ValueError("chat returns the answer alone; text-generation returns all messages")
    return {**options, "return_full_text": False}


def _answer(found: list[dict[str, Any]]) -> Any:
    """Return the answer as a message, or several that were asked for."""
    answers = [{"role": "assistant", "content": each["generated_text"]} for each in found]
    return answers[0] if len(answers) == 1 else answers
