"""The project's rules as functions over source text.

Each check takes a `Source` and yields one line per offence: ``path:line: what is wrong; the fix``.
`test_budgets.py` runs them over the package; `test_checks.py` proves that each one can fail.
"""

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

FILE_LINES = 400
FAMILY_LINES = 220
#: Where public models take the arguments that the field knows them by.
PUBLIC_EDGES = {
    "models/heads.py",
    "models/pretraining_heads.py",
    "models/encoder.py",
    "models/seq2seq.py",
    "models/seq2seq_heads.py",
}
FUNCTION_LINES = 40
CONSTRUCTOR_PARAMETERS = 8
FORWARD_PARAMETERS = 5
NESTING = 3

UNSAFE = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
BROAD = {"Exception", "BaseException"}
CONTAINERS = {"dict", "list", "set", "bytearray", "defaultdict", "deque", "Counter", "OrderedDict"}
DISPLAYS = (ast.Dict, ast.List, ast.Set, ast.DictComp, ast.ListComp, ast.SetComp)
MUTATORS = {
    *("add", "append", "appendleft", "clear", "discard", "extend", "insert"),
    *("pop", "popitem", "remove", "setdefault", "update"),
}
LOOPS = (ast.For, ast.AsyncFor, ast.While)
BLOCKS = (*LOOPS, ast.If, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Source:
    """One file; `path` is relative to the package, such as ``models/bert.py``."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @cached_property
    def parts(self) -> list[ast.AST]:
        """Every node of the tree; that a check looks at all of them should not cost a walk."""
        return [*ast.walk(self.tree)]

    @property
    def part(self) -> str:
        """The top folder, or the file's own name."""
        return self.path.split("/")[0]

    @property
    def is_core(self) -> bool:
        return self.part in {"attention", "layers", "models"}

    @property
    def is_family(self) -> bool:
        """Whether this is a family's page, which ends with the record ``FAMILY = Family(...)``."""
        names = {name for n in self.tree.body if isinstance(n, ast.Assign) for name in _names(n)}
        return self.part == "models" and "FAMILY" in names

    def at(self, place: ast.AST | int, message: str) -> str:
        line = place if isinstance(place, int) else place.lineno
        return f"src/regard/{self.path}:{line}: {message}"

    def nodes(self, *kinds: type) -> Iterator:
        return (node for node in self.parts if isinstance(node, kinds))

    def methods(self, name: str) -> Iterator[tuple[ast.ClassDef, ast.FunctionDef]]:
        for owner in self.nodes(ast.ClassDef):
            yield from ((owner, f) for f in owner.body if getattr(f, "name", None) == name)


Check = Callable[[Source], Iterator[str]]


def read_sources(package: Path) -> list[Source]:
    """Return every module and stub below the folder `package`."""
    files = sorted([*package.rglob("*.py"), *package.rglob("*.pyi")])
    return [Source(file.relative_to(package).as_posix(), file.read_text("utf-8")) for file in files]


# Sizes


def file_length(source: Source) -> Iterator[str]:
    """A file is read in one sitting; a family is read on one page."""
    lines = len(source.text.splitlines())
    limit = FAMILY_LINES if source.is_family else FILE_LINES
    if lines > limit:
        yield source.at(limit + 1, f"the file has {lines} lines, at most {limit}; split it")


def function_length(source: Source) -> Iterator[str]:
    """A function fits on a screen; its docstring is not counted."""
    for function in source.nodes(*FUNCTIONS):
        lines = function.end_lineno - function.lineno + 1 - _docstring_lines(function)
        if lines > FUNCTION_LINES:
            message = f"{function.name} has {lines} lines, at most {FUNCTION_LINES}; split it"
            yield source.at(function, message)


def nesting(source: Source) -> Iterator[str]:
    """Control flow is at most three deep; an elif is as deep as its if."""
    yield from _too_deep(source, source.tree, 0)


def constructor_parameters(source: Source) -> Iterator[str]:
    """A module is built from few values; only configs and dataclasses are lists of fields."""
    for owner, method in source.methods("__init__"):
        if not _is_record(owner):
            yield from _too_many_parameters(source, owner, method, CONSTRUCTOR_PARAMETERS)


def forward_parameters(source: Source) -> Iterator[str]:
    """Inner modules take few tensors; the public edge has the field's signature."""
    for owner, method in source.methods("forward"):
        if source.is_core and not _is_public_edge(source, owner):
            yield from _too_many_parameters(source, owner, method, FORWARD_PARAMETERS)


# Forbidden in attention/, layers/ and models/


def config_probing(source: Source) -> Iterator[str]:
    """A config is typed: a field is there or it is not, and nothing asks at run time."""
    for call in source.nodes(ast.Call):
        probes = _called(call) in {"getattr", "hasattr"} and bool(call.args)
        if source.is_core and probes and _last_name(call.args[0]).lower().endswith("config"):
            yield source.at(call, f"{_called(call)} on a config; make it a typed field")


def forward_kwargs(source: Source) -> Iterator[str]:
    """A forward that takes anything ignores something."""
    for owner, method in source.methods("forward"):
        if source.is_core and method.args.kwarg:
            message = f"{owner.name}.forward takes **{method.args.kwarg.arg}; name the arguments"
            yield source.at(method, message)


def mutable_globals(source: Source) -> Iterator[str]:
    """State that changes is passed and owned by the caller; a module holds constants."""
    if not source.is_core:
        return
    for statement in source.nodes(ast.Global):
        names = ", ".join(statement.names)
        yield source.at(statement, f"global {names}; pass the state in, or return it")
    tables = {name: node for node in source.tree.body for name in _mutable_names(node)}
    for name, node in tables.items():
        if name != name.upper():
            yield source.at(node, f"{name} is mutable and global; pass it, or NAME_IT as constant")
    for function in source.nodes(*FUNCTIONS):
        for node in filter(lambda node: _changed_name(node) in tables, ast.walk(function)):
            yield source.at(node, f"{function.name} changes the global {_changed_name(node)}")


# Forbidden everywhere


def bare_assert(source: Source) -> Iterator[str]:
    """An assert disappears under -O and tells a user nothing."""
    for node in source.nodes(ast.Assert):
        yield source.at(node, "assert; raise an error with a message, or make the types say it")


def unsafe_loading(source: Source) -> Iterator[str]:
    """A checkpoint is data: reading one never runs code."""
    for node in source.nodes(ast.Import, ast.ImportFrom):
        for module in _imported(node) & UNSAFE:
            yield source.at(node, f"imports {module}; use JSON or safetensors")
    for node in source.nodes(ast.ImportFrom):
        if node.module == "torch" and any(name.name == "load" for name in node.names):
            yield source.at(node, "imports torch's load; call torch.load(..., weights_only=True)")
    for call in source.nodes(ast.Call):
        if ast.unparse(call.func) == "torch.load" and not _says(call, "weights_only", value=True):
            yield source.at(call, "torch.load without weights_only=True runs code from the file")
        pickled = any(word.arg == "allow_pickle" for word in call.keywords)
        if pickled and not _says(call, "allow_pickle", value=False):
            yield source.at(call, "allow_pickle runs code from the file")


def code_from_text(source: Source) -> Iterator[str]:
    """Nothing that was read is run."""
    for call in source.nodes(ast.Call):
        if isinstance(call.func, ast.Name) and call.func.id in {"eval", "exec"}:
            yield source.at(call, f"{call.func.id}; parse the text instead")


def swallowed_errors(source: Source) -> Iterator[str]:
    """A handler for every error re-raises it or tells of it."""
    for handler in source.nodes(ast.ExceptHandler):
        if handler.type is None:
            yield source.at(handler, "bare except; name the errors that are expected")
        elif _names(handler.type) & BROAD and not _is_told(handler):
            yield source.at(handler, "swallows every error; name those that are expected")
    for call in source.nodes(ast.Call):
        if _called(call) == "suppress" and BROAD & set().union(*map(_names, call.args)):
            yield source.at(call, "suppresses every error; name those that are expected")


def printing(source: Source) -> Iterator[str]:
    """A library speaks through `regard.errors.notices`; only the command line prints."""
    for call in source.nodes(ast.Call):
        if source.part != "cli" and ast.unparse(call.func) == "print":
            yield source.at(call, "print outside cli/; use regard.errors.notices")


def leftovers(source: Source) -> Iterator[str]:
    """Unfinished work is an issue, not a comment."""
    for line, text in enumerate(source.text.splitlines(), 1):
        if found := re.search(r"\b(TODO|FIXME|XXX)\b", text):
            yield source.at(line, f"{found[0]}; do it, or open an issue")


def unexplained_ignores(source: Source) -> Iterator[str]:
    """Every silenced type error names its rule and says why: ``# pyright: ignore[rule]  # why``."""
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type != tokenize.COMMENT:
            continue
        line, comment = token.start[0], token.string
        found = re.search(
            r"#\s*(type|pyright):\s*ignore(?P<rule>\[[^\]]+\])?(?P<reason>.*)", comment
        )
        if found and not (found["rule"] and len(re.findall(r"\w+", found["reason"])) > 1):
            yield source.at(line, "an ignore needs [a-rule] and a reason of some words after it")
        if re.search(r"#\s*(pyright:(?!\s*ignore)|mypy:)", comment):
            yield source.at(line, "type checking is set in pyproject.toml, not per file")


def reference_import(source: Source) -> Iterator[str]:
    """The reference implementation is a peer of tests and benchmarks only."""
    for node in source.nodes(ast.Import, ast.ImportFrom):
        if "transformers" in _imported(node):
            yield source.at(node, "imports transformers; the package stands alone")


def front_door(source: Source) -> Iterator[str]:
    """`regard`'s own names resolve lazily, which hides an import from the layer contracts."""
    for node in source.nodes(ast.Import):
        if any(name.name == "regard" for name in node.names):
            yield source.at(node, "import regard inside regard; import from the defining module")
    for node in source.nodes(ast.ImportFrom):
        if node.module == "regard" and {name.name for name in node.names} != {"__version__"}:
            yield source.at(node, "from regard import; import from the defining module")


CHECKS: tuple[Check, ...] = (
    *(file_length, function_length, nesting, constructor_parameters, forward_parameters),
    *(config_probing, forward_kwargs, mutable_globals),
    *(bare_assert, unsafe_loading, code_from_text, swallowed_errors, printing),
    *(leftovers, unexplained_ignores, reference_import, front_door),
)


# Helpers


def _docstring_lines(function: ast.FunctionDef) -> int:
    if ast.get_docstring(function, clean=False) is None:
        return 0
    return function.body[0].end_lineno - function.body[0].lineno + 1


def _too_deep(source: Source, node: ast.AST, depth: int) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        inside = depth + (isinstance(child, BLOCKS) and not _is_elif(node, child))
        if inside > NESTING and inside > depth:
            yield source.at(
                child, f"nested {inside} deep, at most {NESTING}; return early or split"
            )
        else:
            yield from _too_deep(source, child, inside)


def _is_elif(parent: ast.AST, child: ast.AST) -> bool:
    """Whether `child` is the elif of `parent`: alone in its else, and no further to the right."""
    both = isinstance(parent, ast.If) and isinstance(child, ast.If)
    return both and parent.orelse == [child] and parent.col_offset == child.col_offset


def _too_many_parameters(
    source: Source, owner: ast.ClassDef, method: ast.FunctionDef, limit: int
) -> Iterator[str]:
    args = method.args
    named = [*args.posonlyargs, *args.args, *args.kwonlyargs]
    count = len(named) - 1 + bool(args.vararg) + bool(args.kwarg)
    if count > limit:
        name = f"{owner.name}.{method.name}"
        yield source.at(method, f"{name} has {count} parameters, at most {limit}; group or split")


def _is_record(owner: ast.ClassDef) -> bool:
    """Whether the class is a list of fields: a dataclass or a config."""
    decorators = {_last_name(_function(decorator)) for decorator in owner.decorator_list}
    names = [owner.name, *map(_last_name, owner.bases)]
    return "dataclass" in decorators or any(name.endswith("Config") for name in names)


def _is_public_edge(source: Source, owner: ast.ClassDef) -> bool:
    is_base_model = source.is_family and owner.name.endswith("Model")
    return source.path in PUBLIC_EDGES or is_base_model


def _function(node: ast.AST) -> ast.AST:
    return node.func if isinstance(node, ast.Call) else node


def _called(call: ast.Call) -> str:
    return _last_name(call.func)


def _last_name(node: ast.AST) -> str:
    """Return ``c`` for ``a.b.c``, ``c`` and ``c[...]``."""
    if isinstance(node, ast.Subscript):
        return _last_name(node.value)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _names(node: ast.AST) -> set[str]:
    return {_last_name(part) for part in ast.walk(node)}


def _imported(node: ast.Import | ast.ImportFrom) -> set[str]:
    """Return the top-level packages that `node` imports from."""
    if isinstance(node, ast.ImportFrom):
        return {(node.module or "").split(".")[0]} if node.level == 0 else set()
    return {name.name.split(".")[0] for name in node.names}


def _says(call: ast.Call, argument: str, *, value: object) -> bool:
    words = {word.arg: word.value for word in call.keywords}
    found = words.get(argument)
    return isinstance(found, ast.Constant) and found.value is value


def _is_told(handler: ast.ExceptHandler) -> bool:
    """Whether the handler raises, or does something with the error."""
    inside = [part for statement in handler.body for part in ast.walk(statement)]
    used = {part.id for part in inside if isinstance(part, ast.Name)}
    return any(isinstance(part, ast.Raise) for part in inside) or handler.name in used


def _mutable_names(node: ast.stmt) -> list[str]:
    """Return the names that a module-level statement binds to a mutable container."""
    if not isinstance(node, ast.Assign | ast.AnnAssign):
        return []
    made = isinstance(node.value, ast.Call) and _called(node.value) in CONTAINERS
    if not made and not isinstance(node.value, DISPLAYS):
        return []
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    names = [target.id for target in targets if isinstance(target, ast.Name)]
    return [name for name in names if not name.startswith("__")]


def _changed_name(node: ast.AST) -> str:
    """Return ``x`` for ``x[...] = ...``, ``del x[...]`` and ``x.append(...)``, else ``""``."""
    changed = None
    if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
        changed = node.value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        changed = node.func.value if node.func.attr in MUTATORS else None
    return changed.id if isinstance(changed, ast.Name) else ""
