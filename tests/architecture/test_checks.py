"""Every check catches what it forbids, on the right line, and lets good code pass."""

import pytest

from . import checks
from .checks import CHECKS, Source


def body(lines: int) -> str:
    return "    x = 1\n" * lines


def method(name: str, parameters: int, owner: str = "class A:") -> str:
    names = ", ".join(f"p{i}" for i in range(parameters))
    return f"{owner}\n    def {name}(self, {names}): ...\n"


DEEP = """\
def f():
    for a in b:
        with c:
            if d:
                x = 1
            elif e:
                while g:
                    x = 2
"""
ELIFS = """\
def f():
    for a in b:
        with c:
            if d:
                x = 1
            elif e:
                x = 2
            elif g:
                x = 3
            else:
                x = 4
"""
ELSE_IF = """\
for a in b:
    for c in d:
        if e:
            x = 1
        else:
            if f:
                x = 2
"""
#: What makes a file of models/ the page of a family.
FAMILY = "FAMILY = Family(BertConfig)\n"
HIDDEN_CACHE = "SEEN = {}\ndef f(x):\n    SEEN[x] = 1\n"

#: (check, path, source, the line of the offence)
BAD = [
    ("file_length", "a.py", "x = 1\n" * 401, 401),
    ("file_length", "models/bert.py", FAMILY + "x = 1\n" * 220, 221),
    ("function_length", "a.py", "def f():\n" + body(40), 1),
    ("function_length", "a.py", "class A:\n  async def f():\n" + body(40), 2),
    ("nesting", "a.py", DEEP, 7),
    ("nesting", "a.py", ELSE_IF, 6),
    (
        "nesting",
        "a.py",
        "try:\n  try:\n    try:\n      pass\n    except E:\n      if a: pass\n"
        "  finally: pass\nfinally: pass\n",
        6,
    ),
    ("constructor_parameters", "a.py", method("__init__", 9), 2),
    (
        "constructor_parameters",
        "a.py",
        "class A:\n    def __init__(self, a, b, /, c, *d, e, f, g, h, **i): ...\n",
        2,
    ),
    ("forward_parameters", "attention/a.py", method("forward", 6), 2),
    ("forward_parameters", "layers/a.py", method("forward", 6, "class AModel:"), 2),
    ("forward_parameters", "models/bert.py", FAMILY + method("forward", 6, "class BertLayer:"), 3),
    ("config_probing", "layers/a.py", "\ngetattr(config, 'x', 1)\n", 2),
    ("config_probing", "models/a.py", "hasattr(self.text_config, 'x')\n", 1),
    ("forward_kwargs", "models/heads.py", "class A:\n  def forward(self, x, **rest): ...\n", 2),
    ("mutable_globals", "attention/a.py", "N = 1\ndef f():\n    global N\n    N = 2\n", 3),
    ("mutable_globals", "layers/a.py", "\nseen: dict[int, int] = {}\n", 2),
    ("mutable_globals", "layers/a.py", "_seen = collections.defaultdict(list)\n", 1),
    ("mutable_globals", "models/a.py", HIDDEN_CACHE, 3),
    ("mutable_globals", "models/a.py", "ALL = []\ndef f(x):\n    ALL.append(x)\n", 3),
    ("bare_assert", "a.py", "def f(x):\n    assert x, 'why'\n", 2),
    ("unsafe_loading", "a.py", "import pickle\n", 1),
    ("unsafe_loading", "a.py", "from pickle import loads\n", 1),
    ("unsafe_loading", "a.py", "torch.load(path)\n", 1),
    ("unsafe_loading", "a.py", "torch.load(path, weights_only=False)\n", 1),
    ("unsafe_loading", "a.py", "from torch import load\n", 1),
    ("unsafe_loading", "a.py", "np.load(path, allow_pickle=True)\n", 1),
    ("code_from_text", "a.py", "x = eval('1')\n", 1),
    ("code_from_text", "a.py", "\nexec(text)\n", 2),
    ("swallowed_errors", "a.py", "try:\n    f()\nexcept:\n    raise\n", 3),
    ("swallowed_errors", "a.py", "try:\n    f()\nexcept Exception:\n    pass\n", 3),
    ("swallowed_errors", "a.py", "try:\n    f()\nexcept (E, BaseException) as e:\n    x = 1\n", 3),
    ("swallowed_errors", "a.py", "with contextlib.suppress(Exception):\n    f()\n", 1),
    ("printing", "text/a.py", "print('hello')\n", 1),
    ("leftovers", "a.py", "x = 1\n# TODO: later\n", 2),
    ("leftovers", "a.py", "x = 1  # FIXME\n", 1),
    ("leftovers", "a.py", "'''XXX'''\n", 1),
    ("unexplained_ignores", "a.py", "x = 1  # type: ignore\n", 1),
    ("unexplained_ignores", "a.py", "x = 1  # pyright: ignore  # no rule named here\n", 1),
    ("unexplained_ignores", "a.py", "\nx = 1  # pyright: ignore[reportAny]\n", 2),
    ("unexplained_ignores", "a.py", "# pyright: basic\n", 1),
    ("reference_import", "a.py", "import transformers.models\n", 1),
    ("reference_import", "a.py", "def f():\n    from transformers import AutoModel\n", 2),
    ("front_door", "a.py", "import regard\n", 1),
    ("front_door", "a.py", "from regard import AutoModel\n", 1),
]

#: (check, path, source): near misses that are fine
GOOD = [
    ("file_length", "a.py", "x = 1\n" * 400),
    ("file_length", "models/heads.py", "x = 1\n" * 400),
    ("function_length", "a.py", "def f():\n" + body(39)),
    ("function_length", "a.py", "def f():\n    '''One.\n\n    Two.\n    '''\n" + body(39)),
    ("nesting", "a.py", ELIFS),
    ("constructor_parameters", "a.py", method("__init__", 8)),
    ("constructor_parameters", "a.py", method("__init__", 9, "class BertConfig:")),
    ("constructor_parameters", "a.py", method("__init__", 9, "@dataclass(frozen=True)\nclass A:")),
    ("forward_parameters", "layers/a.py", method("forward", 5)),
    ("forward_parameters", "models/heads.py", method("forward", 9)),
    (
        "forward_parameters",
        "models/bert.py",
        FAMILY + method("forward", 9, "class BertModel(Base):"),
    ),
    ("config_probing", "layers/a.py", "getattr(module, 'weight')\n"),
    ("config_probing", "checkpoints/a.py", "getattr(config, 'x')\n"),
    ("forward_kwargs", "layers/a.py", "class A:\n  def build(self, **rest): ...\n"),
    ("mutable_globals", "models/a.py", "__all__ = ['A']\nNAMES = {'a': 1}\nx = NAMES['a']\n"),
    ("mutable_globals", "models/a.py", "def f():\n    names = []\n    names.append(1)\n"),
    ("unsafe_loading", "a.py", "torch.load(path, map_location='cpu', weights_only=True)\n"),
    ("code_from_text", "a.py", "model.eval()\n"),
    ("swallowed_errors", "a.py", "try:\n    f()\nexcept Exception as error:\n    log(error)\n"),
    ("swallowed_errors", "a.py", "try:\n    f()\nexcept Exception:\n    undo()\n    raise\n"),
    ("swallowed_errors", "a.py", "try:\n    f()\nexcept KeyError:\n    pass\n"),
    ("printing", "cli/a.py", "print('hello')\n"),
    ("unexplained_ignores", "a.py", "x = 1  # pyright: ignore[reportAny]  # torch says Any\n"),
    ("reference_import", "a.py", "from regard.transformers import x\n"),
    ("front_door", "a.py", "from regard import __version__\nfrom regard.errors import listing\n"),
]


@pytest.mark.parametrize(("check", "path", "text", "line"), BAD)
def test_check_catches(check, path, text, line):
    found = list(getattr(checks, check)(Source(path, text)))
    assert len(found) == 1, found
    assert found[0].startswith(f"src/regard/{path}:{line}: ")


@pytest.mark.parametrize(("check", "path", "text"), GOOD)
def test_check_lets_pass(check, path, text):
    assert list(getattr(checks, check)(Source(path, text))) == []


def test_every_check_is_proven():
    assert {check.__name__ for check in CHECKS} == {case[0] for case in BAD}
