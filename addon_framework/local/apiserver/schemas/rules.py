"""Rules in the Common Expression Language (x-kubernetes-validations), with Kubernetes' own functions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from addon_framework.api.cel_engine import engine
from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas import cause, celext
from addon_framework.local.apiserver.schemas.cause import Cause
from addon_framework.local.apiserver.schemas.celbudget import SPEND, Budget, CostExceeded, Meter, counted
from addon_framework.local.apiserver.schemas.celmacros import rewrite
from addon_framework.local.apiserver.schemas.celreach import reach, reached
from addon_framework.local.apiserver.schemas.celtext import hidden
from addon_framework.local.apiserver.schemas.node import MISSING, SchemaNode

if TYPE_CHECKING:
    from cel import Program

_OLD_SELF = re.compile(r"\boldSelf\b")
_BINDING = re.compile(
    r"(?:\.(?:all|exists|exists_one|map|filter|optMap|optFlatMap)|\bcel\.bind)\(\s*(\w+)\s*,"
)
_DECLARED = frozenset({"self", "oldSelf", *celext.NAMESPACES})
_RESERVED = frozenset(
    (
        "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if",
        "import", "let", "loop", "package", "namespace", "return", "var", "void", "while",
    )
)  # fmt: skip


class CompileError(ValueError):
    """The expression is not CEL, or uses a function that does not exist."""


class Expression:
    """A compiled expression and the functions it calls."""

    def __init__(
        self,
        source: str,
        declared: frozenset[str] = _DECLARED,
        functions: frozenset[str] = frozenset(),
    ) -> None:
        self.source = source.strip()
        try:
            self._program: Program = engine.compile(counted(rewrite(self.source)))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # the parser can panic across the language border
            raise CompileError(f"compilation failed: {error}") from error
        self._functions = celext.functions_for(self._program.functions())
        bare = hidden(self.source)
        self._reach = reach(bare)
        self._calls = frozenset(self._program.functions())
        self.uses_old_self = _OLD_SELF.search(bare) is not None
        self._check_names(bare, declared | _DECLARED, functions)

    def _check_names(self, bare: str, declared: frozenset[str], functions: frozenset[str]) -> None:
        """Refuse what nobody declared now, rather than at every evaluation."""
        bound = {match[1] for match in _BINDING.finditer(bare)} | declared
        unknown = [name for name in self._program.variables() if name not in bound]
        unknown += [
            name
            for name in self._program.functions()
            if name[0].isalpha() and name not in celext.NATIVE | celext.CALLABLE | functions | {SPEND}
        ]
        if unknown:
            raise CompileError(
                "compilation failed: ERROR: <input>:1:1: undeclared reference to "
                f"'{unknown[0]}' (in container '')"
            )

    def evaluate(self, variables: dict[str, Any], budget: Budget | None = None) -> Any:
        """The result; what goes wrong inside is a RuntimeError, TypeError, ValueError or KeyError.

        CostExceeded is one, of an expression that has been stopped.
        """
        meter = Meter(budget or Budget())
        read = {
            name: reached(value, self._reach.get(name))
            for name, value in variables.items()
            if name in self._reach or name in self._calls
        }
        try:
            return self._program.execute({**self._functions, **meter.functions, **read})
        except RuntimeError:
            if meter.exceeded:
                raise CostExceeded from None
            raise


class Rule:
    """One entry of x-kubernetes-validations, compiled once. With an `error` it refuses everything."""

    def __init__(self, raw: Json) -> None:
        self.raw = raw
        self.error = ""
        self._expression: Expression | None = None
        self._message: Expression | None = None
        try:
            self._expression = Expression(str(raw.get("rule", "")))
            if raw.get("messageExpression"):
                self._message = Expression(str(raw["messageExpression"]))
        except CompileError as error:
            self.error = str(error)
        self._optional_old = bool(raw.get("optionalOldSelf"))
        self._path = _relative(str(raw.get("fieldPath", "")))

    @property
    def uses_old_self(self) -> bool:
        """A transition rule: judged on updates only, even where nothing changed."""
        return self._expression is not None and self._expression.uses_old_self

    def judge(
        self, value: Any, old: Any, path: str, node: SchemaNode, unchanged: bool, budget: Budget
    ) -> list[Cause]:
        """Why the value breaks the rule; `old` is MISSING where there is no counterpart."""
        expression = self._expression
        shown = path or "<nil>"
        if expression is None:
            return [cause.invalid(shown, node.type, f"rule compile error: {self.error}")]
        transition = expression.uses_old_self
        if unchanged and not transition:
            return []
        absent = old is MISSING or old is None
        if transition and absent and not self._optional_old:
            return []
        variables: dict[str, Any] = {"self": to_cel(value, node)}
        if transition or self._message is not None:
            before = None if absent else to_cel(old, node)
            if self._optional_old:
                optional = engine.OptionalValue
                variables["oldSelf"] = optional.none() if absent else optional.of(before)
            elif not absent:
                variables["oldSelf"] = before
        try:
            result = expression.evaluate(variables, budget)
        except (RuntimeError, TypeError, ValueError, KeyError, IndexError, ArithmeticError) as error:
            return [cause.invalid(shown, node.type, _evaluation_failure(error, self.raw))]
        if result is True:
            return []
        return [self._cause(shown, value, node, variables)]

    def _cause(self, path: str, value: Any, node: SchemaNode, variables: dict[str, Any]) -> Cause:
        detail = self._detail(variables)
        where = path + self._path if path != "<nil>" else self._path.lstrip(".") or path
        reason = self.raw.get("reason") or "FieldValueInvalid"
        if reason == "FieldValueRequired":
            return cause.required(where, detail)
        if reason == "FieldValueForbidden":
            return cause.forbidden(where, detail)
        compound = node.type in ("object", "array")
        prefix = {"FieldValueDuplicate": "Duplicate value"}.get(reason, "Invalid value")
        message = prefix if compound else f"{prefix}: {cause.render(value)}"
        return Cause(where, reason, message + (f": {detail}" if prefix == "Invalid value" else ""))

    def _detail(self, variables: dict[str, Any]) -> str:
        if self._message is not None:
            try:
                text = self._message.evaluate(variables)
            except (RuntimeError, TypeError, ValueError, KeyError, IndexError, ArithmeticError):
                text = None
            if isinstance(text, str) and text.strip() and "\n" not in text and len(text) <= 5 * 1024:
                return text.strip()
        message = str(self.raw.get("message", "")).strip()
        return message or f"failed rule: {str(self.raw.get('rule', '')).strip()}"


def _evaluation_failure(error: Exception, raw: Json) -> str:
    text = f"no such key: {error.args[0]}" if isinstance(error, KeyError) and error.args else str(error)
    rule = str(raw.get("rule", "")).strip()
    if isinstance(error, CostExceeded):
        stop = "no further validation rules will be run due to call cost exceeds limit"
        return f"'{text}': {stop} for rule: {rule}"
    if isinstance(error, TypeError):
        return (
            f"'no such overload: {text}': call arguments did not match a supported operator, "
            f"function or macro signature for rule: {rule}"
        )
    return f"{text} evaluating rule: {rule}"


def _relative(path: str) -> str:
    """fieldPath as the tail of a field path: .a['b c'] becomes .a[b c]."""
    return re.sub(r"\['((?:\\.|[^'\\])*)'\]", r"[\1]", path)


def escape(name: str) -> str:
    """A field name as CEL expressions spell it."""
    if name in _RESERVED:
        return f"__{name}__"
    if not any(each in name for each in ("__", ".", "-", "/")):
        return name
    return (
        name.replace("__", "__underscores__")
        .replace(".", "__dot__")
        .replace("-", "__dash__")
        .replace("/", "__slash__")
    )


def to_cel(value: Any, node: SchemaNode | None) -> Any:
    """JSON as CEL sees it: field names escaped, formatted strings as times, durations and bytes."""
    if node is None or node.atomic_children:
        return value
    if isinstance(value, dict):
        if not node.properties:
            additional = node.additional
            if additional is None or not _interesting(additional):
                return value
            return {key: to_cel(item, additional) for key, item in value.items()}
        return {escape(key): to_cel(item, node.child(key)) for key, item in value.items()}
    if isinstance(value, list):
        items = node.items
        if items is None or not _interesting(items):
            return value
        return [to_cel(item, items) for item in value]
    if node.format and isinstance(value, str):
        return celext.formatted(value, node.format)
    if node.type == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def _interesting(node: SchemaNode) -> bool:
    """Whether values here may look different in CEL."""
    return bool(node.properties or node.additional or node.items or node.format or node.type == "number")
