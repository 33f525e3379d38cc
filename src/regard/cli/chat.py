"""``regard chat``: a conversation in the terminal."""

import sys
import time
import typing
from collections.abc import Iterable
from typing import Annotated

import typer

from regard.cli import options, writing
from regard.cli.io import emit, read_texts, tell, to_json, verb
from regard.importing import uncollected

if typing.TYPE_CHECKING:
    from regard.pipelines.chat import Conversation

PROMPT = "> "
HELP = "/clear forgets what was said, /exit ends; Ctrl-C stops an answer"


@verb
def chat(
    messages: Annotated[
        list[str] | None,
        typer.Argument(metavar="MESSAGE", help="Messages to send first, one after the other."),
    ] = None,
    system: Annotated[
        str | None, typer.Option("--system", "-s", help="What the model is told first.")
    ] = None,
    max_new_tokens: writing.MaxNewTokens = writing.LONGEST,
    temperature: writing.Temperature = None,
    top_p: writing.TopP = None,
    seed: writing.Seed = None,
    set_: writing.Set = None,
    model: writing.WritingModel = None,
    revision: options.Revision = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    precision: options.Precision = "auto",
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Talk with a model that was trained for it.

    At a terminal, type a message and read the answer as it comes. /clear forgets what was said,
    /exit or Ctrl-D ends, Ctrl-C stops an answer. Messages can be arguments or lines of standard
    input, too; then the conversation ends with them.
    """
    at_terminal = not messages and sys.stdin.isatty()
    given: Iterable[str] = [] if at_terminal else read_texts(messages, None)
    asked = writing.generate_options(set_, max_new_tokens, temperature, top_p, seed)
    if not writing.can_stream(asked):
        raise ValueError(
            "an answer is shown as it comes, which num_beams, num_return_sequences and "
            "penalty_alpha do not allow; see regard generate"
        )
    with uncollected():
        from regard.pipelines.chat import ChatPipeline

    pipeline = options.load(ChatPipeline, model, revision, device, dtype, precision, system=system)
    conversation = pipeline.conversation(**asked)
    if at_terminal:
        _talk(conversation)
        return
    for message in given:
        _answer(conversation, message, as_json=as_json)


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(chat)


def _talk(conversation: "Conversation") -> None:
    """Answer what is typed until someone ends it."""
    tell(HELP)
    while True:
        try:
            message = input(PROMPT).strip()
        except EOFError:
            emit("\n")
            return
        if message == "/exit":
            return
        if message == "/clear":
            conversation.clear()
            tell("forgotten")
        elif message.startswith("/"):
            tell(f"unknown command {message.split()[0]!r}; {HELP}")
        elif message:
            try:
                _answer(conversation, message)
            except KeyboardInterrupt:
                tell("\nstopped")
            except ValueError as error:  # such as a history that has become too long
                tell(f"error: {error}; {HELP}")


def _answer(conversation: "Conversation", message: str, *, as_json: bool = False) -> None:
    """Show an answer as it comes, then how fast it came; or as JSON."""
    if as_json:
        emit(to_json({"message": message, "answer": conversation.ask(message)}) + "\n")
        return
    begun = time.perf_counter()
    writing.write_stream(conversation.stream(message))
    if conversation.last is not None:
        writing.tell_end(conversation.last, begun)
