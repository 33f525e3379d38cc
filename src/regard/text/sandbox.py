"""Jinja for chat templates: programs that come from whoever published a checkpoint.

They run in Jinja's own sandbox: no attribute that leads into Python, no change of what is given, no
files. On top of that a template has a budget of steps, so that it ends; and what a template
is given holds plain data only, because a method of any richer object would be one more way out.
Memory has no budget but for what ``*`` and ``**`` make: text that doubles in a loop still fills it.
"""

import json
import secrets
import traceback
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from typing import Any, cast

from jinja2 import Environment, Template, TemplateError, TemplateSyntaxError, nodes, pass_context
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, LoopControlExtension
from jinja2.meta import find_undeclared_variables
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

#: How many rounds of loops and calls a rendering may take. A conversation of a thousand messages
#: takes some ten thousand; so many take a few seconds.
MAX_STEPS = 1_000_000
#: The longest text or list that ``*`` may make, and the largest power.
MAX_SIZE = 1_000_000

#: What surrounds the text of a generation block until it is rendered; nobody can know it before.
START, END = (f"\ufdd0{secrets.token_hex(8)}{side}" for side in "<>")

#: The variable that holds the budget: no template can spell it.
_STEPS = "steps left"


class Steps:
    """What is left of the budget of one rendering."""

    def __init__(self, left: int):
        self.left = left

    def take(self) -> None:
        """Take one step.

        Raises:
            SecurityError: None is left.
        """
        self.left -= 1
        if self.left < 0:
            raise SecurityError(f"it took more than {MAX_STEPS} steps, so it may never end")


def compile_template(source: str) -> Template:
    """Return the program of a chat template.

    Raises:
        ValueError: It is not Jinja; the message has the line.
    """
    try:
        return _compiled(source)
    except TemplateSyntaxError as error:
        raise ValueError(f"the chat template, line {error.lineno}: {error.message}") from error


@lru_cache(maxsize=64)
def variables_of(source: str) -> frozenset[str]:
    """Return the names of the variables that a template reads."""
    return frozenset(find_undeclared_variables(_environment().parse(source)))


def run(template: Template, variables: dict[str, Any]) -> str:
    """Return what `template` writes, with the marks around generation blocks.

    Raises:
        ValueError: It stopped, by its own ``raise_exception`` or by a mistake; the message has the
            line.
    """
    try:
        return template.render({**variables, _STEPS: Steps(MAX_STEPS)})
    except Exception as error:  # a template can raise whatever Python can
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == "<template>"]
        where = f"the chat template, line {lines[-1]}" if lines else "the chat template"
        kind = "" if isinstance(error, TemplateError) else f" ({type(error).__name__})"
        raise ValueError(f"{where}: {error}{kind}") from error


class _Generation(Extension):
    """``{% generation %}`` marks what the assistant wrote, in a scope of its own."""

    tags = {"generation"}  # noqa: RUF012  (Jinja's own declaration)

    def parse(self, parser: Parser) -> nodes.Node:
        """Return the block with marks around it."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        first, last = (nodes.Output([nodes.TemplateData(mark)]) for mark in (START, END))
        return nodes.Scope([first, *body, last]).set_lineno(line)


class _Code(CodeGenerator):
    """Jinja's compiler; each round of each loop takes a step."""

    def visit_Template(self, node: nodes.Template, frame: Frame | None = None) -> None:  # noqa: N802
        """Compile a template."""
        for loop in list(node.find_all(nodes.For)):
            counted = nodes.Filter(loop.iter, "counted", [], [], None, None)
            loop.iter = counted.set_lineno(loop.lineno).set_environment(self.environment)
        super().visit_Template(node, frame)


class _Sandbox(ImmutableSandboxedEnvironment):
    """The sandbox with a budget; each call takes a step, too."""

    code_generator_class = _Code
    intercepted_binops = frozenset({"*", "**"})

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        # Jinja's own names: a template may pass arguments called self, context or obj.
        """Call what a template calls."""
        cast("Steps", __context[_STEPS]).take()
        return super().call(__context, __obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Multiply, unless the product would fill the memory or take for ever."""
        if operator == "**":
            too_large = abs(left) > MAX_SIZE or abs(right) > 64
        else:
            sizes = [len(side) for side in (left, right) if hasattr(side, "__len__")]
            factors = [side for side in (left, right) if isinstance(side, int)]
            too_large = any(size * factor > MAX_SIZE for size in sizes for factor in factors)
        if too_large:
            raise SecurityError(f"what {operator} makes is too large")
        return super().call_binop(context, operator, left, right)


class _Namespace(Namespace):
    """Jinja's namespace without names that mean something to Python."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        # No `self`: a template may have a variable of that name.
        values = dict(*args[1:], **kwargs)
        for name in values:
            _check_name(name)
        Namespace.__init__(args[0], values)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: str) -> None:
    if name.startswith("_"):
        raise SecurityError(f"a variable of a namespace cannot be called {name!r}")


@pass_context
def _counted(context: Context, values: Iterable[Any]) -> Iterator[Any]:
    steps = cast("Steps", context[_STEPS])
    for value in values:
        steps.take()
        yield value


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter writes for web pages and changes < and &.
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)


def _dict(*args: Any, **kwargs: Any) -> dict[Any, Any]:
    return dict(*args, **kwargs)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = _Sandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, LoopControlExtension]
    )
    # Their own types are those of Jinja's defaults.
    cast("dict[str, Any]", environment.filters).update(tojson=_to_json, counted=_counted)
    given = cast("dict[str, Any]", environment.globals)
    del given["lipsum"]
    given.update(
        raise_exception=_raise_exception,
        strftime_now=_strftime_now,
        dict=_dict,
        namespace=_Namespace,
    )
    return environment


@lru_cache(maxsize=64)
def _compiled(source: str) -> Template:
    return _environment().from_string(source)
