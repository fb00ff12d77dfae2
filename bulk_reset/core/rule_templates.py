"""The templates of rules: Jinja2's sandbox, strict about texts and bounded in time and memory.

A value becomes a text as a sheet shows it: null is empty, true is ``true``. What has no text (a
list, an object, a method) is an error, also inside ``~``, ``%``, ``format`` and ``join``.

Bounds, so that an error in a rule neither fills the memory nor runs forever: every result of an
operator, a call or a filter has a maximum size, which is estimated before it is made, and a
rendering has a maximum of steps (loop rounds, calls, filters).

State: the steps left and the text made, reset at the start of each rendering; one thread.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from jinja2 import StrictUndefined, Undefined, nodes
from jinja2.compiler import CodeGenerator
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from bulk_reset.core.custom_fields import text_of

if TYPE_CHECKING:
    from jinja2.environment import Template
    from jinja2.runtime import Context

MAX_CHARACTERS: Final = 100_000
"""Of any result; more than any field can have."""
_MAX_PRODUCT: Final = 10_000_000
"""Of the two largest sizes that a result is made of, checked before it is made."""
_MAX_STEPS: Final = 20_000
_MAX_BITS: Final = 4096
"""Of a whole number."""
_MAX_WIDTH: Final = 1000
"""Of a value within a format."""
_PERCENT: Final = re.compile(r"%(?:\([^)]*\))?[-#0 +]*(\*|\d+)?(?:\.(\*|\d+))?")
_BRACES: Final = re.compile(r"\{[^{}]*:[^{}]*?(\d+)(?:\.(\d+))?")
_NESTED_BRACES: Final = re.compile(r"\{[^{}]*:[^{}]*\{")
_TAKES_TEXT: Final = frozenset(
    {"capitalize", "center", "e", "escape", "forceescape", "format", "indent", "lower"}
    | {"regex_replace", "replace", "replace_all", "string", "striptags", "title", "trim"}
    | {"truncate", "upper", "urlencode", "urlize", "wordcount", "wordwrap"}
)
"""Filters that turn their value into a text."""
_TAKES_ANY_NUMBER: Final = frozenset(
    {"d", "default", "attr", "map", "replace_all", "select", "selectattr"}
)
"""Filters whose numbers are no sizes, and whose arguments may be large."""
_JSON_COLUMN: Final = "field:any:json"
_JOIN, _PLAIN, _STEP = "bulk_reset_join", "bulk_reset_value", "bulk_reset_step"


class RuleError(Exception):
    """A rule has no text, or is too large: a sentence with what is wrong, and one with the fix."""


class Null(str):
    """The null of an incident: an empty text, for which ``is none`` is true."""

    __slots__ = ()
    __module__ = "builtins"  # Jinja2 prints it in its errors

    def __eq__(self, other: object) -> bool:
        return other is None or str.__eq__(self, other) is True

    __hash__ = str.__hash__


def values_of(value: Any) -> Any:  # noqa: ANN401  (JSON)
    """Return an incident's values for a template: every null is a ``Null``."""
    if value is None:
        return Null()
    if isinstance(value, Mapping):
        return {key: values_of(one) for key, one in value.items()}
    return [values_of(one) for one in value] if isinstance(value, list) else value


def _json_of(value: Any) -> Any:  # noqa: ANN401  (JSON)
    """Return the reverse of ``values_of``."""
    if isinstance(value, Null):
        return None
    if isinstance(value, Mapping):
        return {key: _json_of(one) for key, one in value.items()}
    return [_json_of(one) for one in value] if isinstance(value, list | tuple) else value


class Environment(ImmutableSandboxedEnvironment):
    """Jinja2's sandbox with the rules of this module; compile with ``from_string``."""

    intercepted_binops = frozenset({"*", "**", "+", "%"})

    def __init__(self) -> None:
        super().__init__(
            undefined=StrictUndefined,
            keep_trailing_newline=True,
            autoescape=False,
            optimized=False,  # a constant is computed when it is needed, and bounded there
            finalize=self._shown,
        )
        self._steps = self._made = 0
        self.code_generator_class = _Generator
        # The one makes random paragraphs, the other prints objects as Python does.
        del self.globals["lipsum"], self.filters["pprint"]
        self.filters |= {"regex_replace": _regex_replace, "replace_all": _replace_all}
        self.filters |= {"tojson": _to_json, _JOIN: _join}
        self.filters = {
            name: self._bounded_filter(name, function) for name, function in self.filters.items()
        }
        self.filters |= {_PLAIN: _plain_value, _STEP: lambda _: self._step()}
        self.tests["none"] = lambda value: value is None or isinstance(value, Null)

    def render(self, template: Template, incident: Mapping[str, Any]) -> str:
        """Return the text of a template; it raises whatever a template can raise."""
        self._steps = self._made = 0
        parts: list[str] = []
        size = 0
        for part in template.generate(values_of(incident)):
            size += len(part)
            _require(size <= MAX_CHARACTERS, f"more than {MAX_CHARACTERS:,} characters")
            parts.append(part)
        return "".join(parts)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401
        """Return the result of an operator."""
        self._step()
        if operator == "%" and isinstance(left, str):
            values = right if isinstance(right, tuple) else (right,)
            _check_format(left, values)
            is_named = isinstance(right, Mapping) and "%(" in left
            right = _InsertedValues(right) if is_named else tuple(map(_inserted, values))
        elif operator in {"*", "**"}:
            _check_product(operator, left, right)
        return _bounded(super().call_binop(context, operator, left, right))

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Return the result of a call."""
        self._step()
        owner = getattr(function, "__self__", None)
        if isinstance(owner, str):
            _check_sizes([owner, *args, *kwargs.values()])
            if getattr(function, "__name__", "") == "join":
                return _bounded(owner.join(map(text_of_value, args[0])))
        return _bounded(super().call(context, function, *args, **kwargs))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:  # noqa: ANN401
        """Return ``str.format`` with bounds."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None
        text = value.__self__
        is_map = value.__name__ == "format_map"

        def formatted(*args: Any, **kwargs: Any) -> str:  # noqa: ANN401
            _check_format(text, ())
            _check_sizes([text, *(args[0].values() if is_map else args), *kwargs.values()])
            if is_map:
                return wrapped(_InsertedValues(args[0]))
            return wrapped(*map(_inserted, args), **{k: _inserted(v) for k, v in kwargs.items()})

        return formatted

    def _bounded_filter(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        # A filter may get the context or the environment before its value.
        place = 1 if hasattr(function, "jinja_pass_arg") else 0

        @functools.wraps(function)
        def bounded(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            self._step()
            passed, (value, *rest) = args[:place], args[place:]
            if name in _TAKES_TEXT:
                value = _plain_value(value) if name == "format" else text_of_value(value)
            if name == "format":
                _check_format(value, rest)
                rest, kwargs = [*map(_inserted, rest)], _InsertedValues(kwargs)
            if name == "join":
                value = [text_of_value(one) for one in value]
            if name not in _TAKES_ANY_NUMBER:
                sized = value if isinstance(value, str | list | tuple | Mapping) else ""
                _check_sizes([sized, *rest, *kwargs.values()])
            return _bounded(function(*passed, value, *rest, **kwargs))

        return bounded

    def _step(self) -> None:
        self._steps += 1
        _require(self._steps <= _MAX_STEPS, f"more than {_MAX_STEPS:,} steps")

    def _shown(self, value: Any) -> Any:  # noqa: ANN401  (any value of a template)
        """Return what ``{{ value }}`` prints; called by Jinja2 for each."""
        if isinstance(value, Undefined):
            return value  # raises when it is printed, with its name
        text = text_of_value(value)
        self._made += len(text)
        _require(self._made <= _MAX_PRODUCT, f"more than {MAX_CHARACTERS:,} characters")
        return text


class _Generator(CodeGenerator):
    """Compiles a template with joins, attributes and loops that are checked."""

    def visit_Template(self, node: nodes.Template, frame: Any = None) -> None:  # noqa: ANN401, N802
        """Compile the template."""
        super().visit_Template(_Checked().visit(node), frame)


class _Checked(NodeTransformer):
    """Puts checks into a template; the methods' names are Jinja2's."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), _JOIN)

    def visit_Call(self, node: nodes.Call) -> nodes.Node:  # noqa: N802
        """Leave the method of a call: it is an error only where it is not called."""
        callee = node.node
        if isinstance(callee, nodes.Getattr | nodes.Getitem):
            self.generic_visit(callee)
            node.node = nodes.Const(None, lineno=node.lineno)
            self.generic_visit(node)
            node.node = callee
            return node
        self.generic_visit(node)
        return node

    def visit_Getattr(self, node: nodes.Getattr) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filtered(node, _PLAIN) if node.ctx == "load" else node

    visit_Getitem = visit_Getattr  # noqa: N815

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        step = _filtered(nodes.Const(None, lineno=node.lineno), _STEP)
        node.body.insert(0, nodes.ExprStmt(step, lineno=node.lineno))
        return node


def _filtered(node: Any, name: str) -> nodes.Filter:  # noqa: ANN401  (a node)
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def text_of_value(value: Any) -> str:  # noqa: ANN401  (any value of a template)
    """Return a value as a sheet shows it.

    Raises:
        RuleError: it has no text.
    """
    value = _plain_value(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        raise RuleError(f"the result is not a finite number ({value}). Fix the calculation.")
    if isinstance(value, str | int | float | Undefined):
        return str(value)
    raise RuleError(
        f"{_kind(value)} has no text. Use one of its values, or a filter such as join or tojson."
    )


def _kind(value: object) -> str:
    if isinstance(value, Mapping):
        return "an object"
    return "a list" if isinstance(value, list | tuple | set) else f"a {type(value).__name__}"


def _plain_value(value: Any) -> Any:  # noqa: ANN401  (any value of a template)
    """Return a value of an attribute; raises RuleError for a method."""
    name = getattr(value, "__name__", "")
    if name and callable(value) and not isinstance(value, Undefined):
        raise RuleError(
            f"{name} is a method, not a value. Use {name}(), or ['{name}'] for a value of that "
            "name."
        )
    return value


def _inserted(value: Any) -> Any:  # noqa: ANN401  (any value of a template)
    """Return what a format inserts: a number, which it can format, or a text."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and math.isfinite(value) else text_of_value(value)


class _InsertedValues(dict[str, Any]):
    """The values of a format by name; only those that are used must have a text."""

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401  (any value of a template)
        return _inserted(super().__getitem__(name))


def _join(values: Iterable[Any]) -> str:
    """Return the values of ``a ~ b`` as one text."""
    return "".join(map(text_of_value, values))


def _to_json(value: Any, indent: int | None = None) -> str:  # noqa: ANN401  (JSON)
    """Return JSON as a sheet's cell has it; Jinja2's own escapes ``&``, ``<`` and ``'``."""
    try:
        json.dumps(value, allow_nan=False)
        plain = _json_of(value)
        if plain is None:
            return "null"
        return text_of(_JSON_COLUMN, plain) if indent is None else json.dumps(plain, indent=indent)
    except (TypeError, ValueError) as exc:
        raise RuleError(f"{_kind(value)} is not JSON ({exc}). Use one of its values.") from exc


def _regex_replace(text: str, pattern: str, replacement: str = "") -> str:
    """Return the text with the matches of a regular expression replaced."""
    return re.sub(pattern, replacement, text)


def _replace_all(text: str, texts: Mapping[str, str], whole_word: bool = False) -> str:
    """Return the text with each of these texts replaced, in one pass, the longest one first."""
    pattern = _any_of(tuple(texts), whole_word=whole_word)
    return pattern.sub(lambda found: texts[found[0]], text)


@functools.lru_cache(maxsize=16)
def _any_of(texts: tuple[str, ...], *, whole_word: bool) -> re.Pattern[str]:
    """Return the pattern of any of these texts, as they are."""
    found = "|".join(map(re.escape, sorted(texts, key=len, reverse=True)))
    # Chinese has no spaces between words, so only ASCII words have bounds.
    before, after = (r"(?<![A-Za-z0-9_])", r"(?![A-Za-z0-9_])") if whole_word else ("", "")
    return re.compile(f"{before}(?:{found}){after}")


# --- Bounds ----------------------------------------------------------------------------------


def _require(is_small: bool, what: str) -> None:
    if not is_small:
        raise RuleError(f"the result has {what}. Shorten the rule.")


def _size(value: Any) -> int:  # noqa: ANN401  (any value of a template)
    """Return the characters and elements of a value."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    if isinstance(value, range):
        return len(value)
    if isinstance(value, list | tuple | set):
        return len(value) + sum(len(one) for one in value if isinstance(one, str))
    return 1


def _check_sizes(values: Iterable[Any]) -> None:
    """Check sizes and numbers that a result is made of; a number may be a width or a count."""
    sizes = sorted(
        abs(value) if isinstance(value, int) and not isinstance(value, bool) else _size(value)
        for value in values
    )
    product = math.prod(max(1, size) for size in sizes[-2:])
    _require(product <= _MAX_PRODUCT, f"more than {MAX_CHARACTERS:,} characters")


def _check_product(operator: str, left: Any, right: Any) -> None:  # noqa: ANN401
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * abs(right) if operator == "**" else left.bit_length()
        _require(bits <= _MAX_BITS, f"more than {MAX_CHARACTERS:,} characters")
    elif not (isinstance(left, float) or isinstance(right, float)):
        count = left if isinstance(left, int) else right
        sized = right if isinstance(left, int) else left
        size = _size(sized) * max(0, count) if isinstance(count, int) else 0
        _require(size <= MAX_CHARACTERS, f"more than {MAX_CHARACTERS:,} characters")


def _check_format(text: str, values: Iterable[Any]) -> None:
    """Check the widths of a format before it is used."""
    found = [*_PERCENT.findall(text), *_BRACES.findall(text)]
    widths = [int(width) for pair in found for width in pair if width.isdecimal()]
    if any("*" in pair for pair in found):
        widths += [abs(value) for value in values if isinstance(value, int)]
    is_nested = _NESTED_BRACES.search(text) is not None
    _require(
        max(widths, default=0) <= _MAX_WIDTH and not is_nested,
        f"a value with more than {_MAX_WIDTH:,} characters",
    )


def _bounded(result: Any) -> Any:  # noqa: ANN401  (any value of a template)
    if isinstance(result, int):
        _require(result.bit_length() <= _MAX_BITS, f"more than {_MAX_BITS:,} bits")
    else:
        _require(_size(result) <= MAX_CHARACTERS, f"more than {MAX_CHARACTERS:,} characters")
    return result
