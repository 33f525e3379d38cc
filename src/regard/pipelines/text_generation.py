"""Texts and conversations that are continued."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, cast

from regard.generation.stream import TextStream
from regard.pipelines.generating import GenerationPipeline
from regard.pipelines.job import shaped

Message = Mapping[str, Any]
#: A text to continue, or a conversation to answer.
Prompt = str | Sequence[Message]


class TextGenerationPipeline(GenerationPipeline):
    """Continues texts, and answers conversations in the form that the model was trained on.

    Without a length a text goes on until its end token or the end of the model's context.
    """

    task: ClassVar[str] = "text-generation"
    #: What to do about a prompt that is longer than the model can read.
    when_too_long: ClassVar[str] = 'handle_long_generation="hole" keeps its last tokens'

    def __call__(
        self,
        text_inputs: Prompt | Iterable[Prompt],
        *,
        return_full_text: bool = True,
        handle_long_generation: str | None = None,
        tokenizer_encode_kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Return a list of ``{"generated_text": ...}`` for each input.

        Args:
            text_inputs: A text, or a conversation such as ``[{"role": "user", "content": "Hi"}]``;
                a list or a stream of either. An empty text begins with the model's first token.
            return_full_text: Whether the text begins with the prompt; of a conversation, whether
                it is all messages. A conversation that ends with the assistant's message is one
                whose message goes on.
            handle_long_generation: ``"hole"`` keeps the end of a prompt that would leave no room
                for `max_new_tokens`, or without them for a quarter of the context.
            tokenizer_encode_kwargs: Options of the tokenizer's call, or for conversations of
                `apply_chat_template`, such as ``tools``.
            options: As for ``model.generate``.

        Raises:
            ValueError: A prompt is too long, or empty where the model knows no first token.
        """
        room = self._room(handle_long_generation, options)
        one = isinstance(text_inputs, str) or is_conversation(text_inputs)
        given = cast("Iterable[Prompt]", [text_inputs] if one else text_inputs)
        found = self._results(given, return_full_text, room, tokenizer_encode_kwargs or {}, options)
        return next(found) if one else shaped(text_inputs, found)

    def stream(
        self,
        text_input: Prompt,
        *,
        handle_long_generation: str | None = None,
        tokenizer_encode_kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> TextStream:
        """Return an iterator of the pieces of one continuation, without the prompt."""
        room = self._room(handle_long_generation, options)
        ids = self.ids_of(text_input, 0, tokenizer_encode_kwargs or {}, room)
        return self.stream_ids(ids, options)

    def ids_of(
        self, prompt: Prompt, number: int, encoding: Mapping[str, Any], room: int | None = None
    ) -> list[int]:
        """Return the tokens of a prompt, the last `room` of them."""
        if isinstance(prompt, str):
            ids = cast("list[int]", self.tokenizer(prompt, **encoding)["input_ids"])
        elif is_conversation(prompt):
            ids = self._conversation_ids(prompt, encoding)
        else:
            raise TypeError(
                f"input {number} is {type(prompt).__name__}; wanted a text, or a list of messages "
                "such as {'role': 'user', 'content': 'Hello'}"
            )
        first = self.model.generation_config.bos_token_id
        if not ids and first is None:
            raise ValueError(f"text {number} is empty, and the model has no token to begin with")
        ids = (ids or [cast("int", first)])[-(room or 0) :]
        self.check_length(ids, number, self.when_too_long)
        return ids

    def _conversation_ids(
        self, messages: Sequence[Message], encoding: Mapping[str, Any]
    ) -> list[int]:
        goes_on = messages[-1].get("role") == "assistant"
        asked: dict[str, Any] = {
            "add_generation_prompt": not goes_on,
            "continue_final_message": goes_on,
            **encoding,
            "return_dict": False,
        }
        return self.tokenizer.apply_chat_template(messages, **asked)

    def _results(
        self,
        prompts: Iterable[Prompt],
        full: bool,
        room: int | None,
        encoding: Mapping[str, Any],
        options: Mapping[str, Any],
    ) -> Iterator[list[dict[str, Any]]]:
        waiting: list[Prompt] = []

        def ids() -> Iterator[list[int]]:
            for number, prompt in enumerate(prompts):
                waiting.append(prompt)
                yield self.ids_of(prompt, number, encoding, room)

        for rows in self.decode(ids(), options):
            prompt = waiting.pop(0)
            texts = [self.written(row) for row in rows]
            yield [{"generated_text": _joined(prompt, text) if full else text} for text in texts]

    def _room(self, handling: str | None, options: Mapping[str, Any]) -> int | None:
        """Return how many tokens of a prompt are kept, or None for all."""
        if handling is None:
            return None
        if handling != "hole":
            raise ValueError(f'handle_long_generation={handling!r}; wanted "hole"')
        context, _ = self.model.context()
        config = self.model.generation_config
        asked = {**self.options, **options}.get("max_new_tokens") or config.max_new_tokens
        room = context - (asked or context // 4)
        if room < 1:
            raise ValueError(
                f"max_new_tokens={asked} leaves no room for a prompt in a context of {context}"
            )
        return room


def is_conversation(given: Any) -> bool:
    """Whether this is a list of messages."""
    listed = isinstance(given, list | tuple) and len(cast("list[Any]", given)) > 0
    return listed and isinstance(given[0], Mapping)


def _joined(prompt: Prompt, text: str) -> Any:
    """Return the prompt with what follows; a conversation as its messages."""
    if isinstance(prompt, str):
        return prompt + text
    messages = [dict(message) for message in prompt]
    if messages[-1].get("role") == "assistant":
        messages[-1]["content"] = f"{messages[-1]['content']}{text}"
        return messages
    return [*messages, {"role": "assistant", "content": text}]
