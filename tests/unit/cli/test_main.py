"""What only a process of its own can show. Each that loads torch costs seconds, so they are few."""

import json
import os
import pty
import signal
import subprocess
import sys

import pytest

from regard import __version__

from ...processes import PATIENCE, interruptible

COMMAND = [sys.executable, "-m", "regard"]


def start(*arguments, **options):
    return subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def test_stream_is_answered_while_it_is_open_and_can_be_interrupted():
    with start("embed", "--json", preexec_fn=interruptible) as process:
        for text in ("first", "Дом"):
            process.stdin.write(f"{text}\n".encode())
            process.stdin.flush()
            if text == "first":
                assert json.loads(process.stdout.readline())["text"] == "first"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert b"Traceback" not in err
    assert out == b""


def test_closed_pipe_is_quiet():
    with start("similar", "a", "-f", "-", "--json") as process:
        process.stdout.close()
        process.stdin.write(b"b\nc\n")
        process.stdin.close()
        err = process.stderr.read()
        assert process.wait(PATIENCE) == 0
    assert err == b""


def test_nothing_to_read_at_a_terminal_is_a_usage_error():
    terminal, other_end = pty.openpty()
    try:
        done = subprocess.run(
            [*COMMAND, "embed"], stdin=other_end, capture_output=True, text=True, check=False
        )
    finally:
        os.close(terminal)
        os.close(other_end)
    assert done.returncode == 2
    assert "nothing to read: give texts" in done.stderr
    assert done.stdout == ""


VERBS = ["embed", "similar", "classify", "train", "evaluate", "predict"]
VERBS += ["generate", "chat", "summarize", "translate"]
VERBS += ["run", "tag", "roles", "fill", "ask", "rank", "cluster"]


@pytest.mark.parametrize("verb", [*VERBS, "models", "info", "convert", "doctor"])
def test_help_of_a_verb_needs_no_torch(run, verb):
    # The command itself is watched in tests/architecture; here: no verb's module is heavy.
    done = run(verb, "--help")
    assert done.exit_code == 0
    assert "--json" in done.stdout


def test_modules_are_light():
    code = (
        "import sys, regard.cli.main\n"
        "print(*sorted({'torch', 'numpy', 'tokenizers', 'huggingface_hub'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_version(run):
    assert run("--version").stdout == f"regard {__version__}\n"


def test_no_verb_shows_help(run):
    done = run()
    assert "classify" in done.output
    assert "Usage" in done.output


@pytest.mark.parametrize(("typed", "meant"), [("clssify", "classify"), ("embd", "embed")])
def test_a_near_verb_is_suggested(run, typed, meant):
    done = run(typed)
    assert done.exit_code == 2
    assert f"Did you mean '{meant}'" in done.stderr


def test_a_near_option_is_suggested(run):
    done = run("embed", "a", "--modle", "x")
    assert done.exit_code == 2
    assert "--model" in done.stderr
