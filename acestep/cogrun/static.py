"""Reads the signature of a predictor from its source, as Cog's static generator does at `cog build`.

In: a predictor file and the name of its class. Out: a `Signature` (inputs in order, output type), or one
`SchemaError` that lists every construct Cog would drop or refuse. Cog drops silently: a default it cannot resolve
makes the input required, a bound it cannot read is no bound. So what is not read faithfully is an error here.
Stricter than Cog where our house is: every input is a described `Input(...)` in the signature itself.
Refuses to know: OpenAPI, HTTP, and the code of the predictor, which is never imported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from acestep.cogrun.constraints import violations
from acestep.cogrun.errors import Finding, SchemaError
from acestep.cogrun.literals import Literal, Scalar, Source, UnreadableError
from acestep.cogrun.parameter import SCALAR_TYPES, Parameter

PREDICTOR_CLASS = "Predictor"
METHODS = ("run", "predict")
READERS = {
    "default": Source.literal,
    "description": lambda source, node: source.string(node, names=True),
    "ge": Source.number,
    "le": Source.number,
    "min_length": Source.number,
    "max_length": Source.number,
    "regex": Source.string,
    "accept": Source.string,
    "choices": lambda source, node: tuple(source.items(node)),
    "deprecated": Source.boolean,
}
CONSEQUENCE = {
    "default": "Cog would drop it and make the input required",
    "choices": "Cog refuses it: write a list of literals, a NAME of one in this file, or a sum of these",
}
DROPPED = "Cog would drop it or read another value"
Value = Literal | tuple[Scalar, ...]
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Signature:
    """What Cog knows of a predictor: its inputs in order and the type it returns (`str`, `Path`, ...)."""

    parameters: tuple[Parameter, ...]
    output: str


def read_signature(path: Path, class_name: str = PREDICTOR_CLASS) -> Signature:
    """Read the inputs and the output of a predictor class without importing it.

    Raises:
        SchemaError: with every finding, when Cog would drop or refuse something; also for a file that is not Python.
        OSError: the file cannot be read.
    """
    try:
        source = Source.read(path)
    except SyntaxError as error:
        raise SchemaError(path, [Finding(error.lineno or 1, f"is not valid Python: {error.msg}")]) from error
    reader = _Reader(source)
    signature = reader.signature(class_name)
    if reader.findings:
        raise SchemaError(path, reader.findings)
    return signature


@dataclass(slots=True)
class _Reader:
    """Walks one predictor file and collects every finding instead of stopping at the first."""

    source: Source
    findings: list[Finding] = field(default_factory=list)

    def note(self, node: ast.AST, message: str) -> None:
        self.findings.append(Finding(getattr(node, "lineno", 1), message))

    def signature(self, class_name: str) -> Signature:
        method = self._method(class_name)
        if method is None:
            return Signature((), "")
        self._check_method(method)
        pairs = _arguments_with_defaults(method)
        parameters = [self._parameter(argument, default) for argument, default in pairs]
        return Signature(tuple(item for item in parameters if item is not None), self._output(method))

    def _method(self, class_name: str) -> Function | None:
        body = self.source.tree.body
        owner = next((node for node in body if isinstance(node, ast.ClassDef) and node.name == class_name), None)
        if owner is None:
            self.note(self.source.tree, f"has no class {class_name} at the top level of the file")
            return None
        found = [node for node in owner.body if isinstance(node, Function) and node.name in METHODS]
        if not found:
            self.note(owner, f"class {class_name} has no predict() of its own, outside any `if` or `try`")
            return None
        if len(found) > 1:
            self.note(
                found[1], f"class {class_name} has both {found[0].name}() and {found[1].name}(): Cog refuses that"
            )
        return found[-1]

    def _check_method(self, method: Function) -> None:
        name, arguments = method.name, method.args
        for decorator in method.decorator_list:
            self.note(decorator, f"{name}() is decorated: omitted inputs would arrive as FieldInfo objects")
        for extra in (arguments.vararg, arguments.kwarg, *arguments.posonlyargs):
            if extra is not None:
                self.note(
                    extra, f"{name}() takes {extra.arg!r} as *, ** or positional-only: Cog passes inputs by keyword"
                )

    def _output(self, method: Function) -> str:
        if method.returns is None:
            self.note(method, f"{method.name}() has no return annotation: Cog refuses that")
            return ""
        type_name, optional = self._annotation(method.returns, "the output")
        if optional:
            self.note(method.returns, "the output is Optional: Cog refuses that")
        return type_name

    def _parameter(self, argument: ast.arg, default: ast.expr | None) -> Parameter | None:
        name = argument.arg
        if argument.annotation is None:
            self.note(argument, f"input {name!r} has no type annotation: Cog refuses that")
            return None
        before = len(self.findings)
        type_name, optional = self._annotation(argument.annotation, f"input {name!r}")
        values = self._input_call(name, argument, default)
        if len(self.findings) > before:
            return None
        required = "default" not in values
        parameter = Parameter(name=name, type=type_name, optional=optional, required=required, **values)
        for message in violations(parameter):
            self.note(argument, f"input {name!r} {message}")
        return parameter

    def _annotation(self, node: ast.expr, owner: str) -> tuple[str, bool]:
        """Name of the scalar type and whether None is allowed beside it."""
        inner, optional = self._strip_optional(_unquoted(node))
        name = inner.id if isinstance(inner, ast.Name) else ast.unparse(inner)
        if name == "Path" and self.source.imports.get("Path") != ("cog", "Path"):
            self.note(node, f"{owner} is a Path that is not imported by `from cog import Path`")
        elif self.source.imports.get(name) == ("cog", "Path") and name != "Path":
            self.note(node, f"{owner} has type {name}: Cog does not recognise Path under another name")
        elif name not in SCALAR_TYPES:
            allowed = ", ".join(SCALAR_TYPES)
            self.note(node, f"{owner} has type {name}; allowed are {allowed} and, for inputs, Optional of one")
        return name, optional

    def _strip_optional(self, node: ast.expr) -> tuple[ast.expr, bool]:
        """`Optional[X]`, `X | None` and `None | X` -> (X, True); anything else unchanged."""
        match node:
            case ast.Subscript(value=outer, slice=inner) if self._is_typing_optional(outer):
                return inner, True
            case ast.BinOp(left=inner, op=ast.BitOr(), right=ast.Constant(value=None)):
                return inner, True
            case ast.BinOp(left=ast.Constant(value=None), op=ast.BitOr(), right=inner):
                return inner, True
        return node, False

    def _is_typing_optional(self, node: ast.expr) -> bool:
        match node:
            case ast.Name(id=name):
                return self.source.imports.get(name) == ("typing", "Optional")
            case ast.Attribute(value=ast.Name(id=module), attr="Optional"):
                return self.source.imports.get(module) == ("typing", "")
        return False

    def _input_call(self, name: str, argument: ast.arg, node: ast.expr | None) -> dict[str, Value]:
        """The keywords of `Input(...)` that can be read; a finding for each that cannot."""
        if not isinstance(node, ast.Call):
            self.note(node or argument, f"input {name!r} has no Input(...) and so no description")
            return {}
        callee = ast.unparse(node.func)
        if self.source.imports.get(callee) != ("cog", "Input"):
            self.note(node, f"input {name!r} is {callee}(...): Cog needs Input(...), by `from cog import Input`")
            return {}
        for value in node.args:
            self.note(value, f"input {name!r} has a positional default, which Cog drops: write default=")
        read = {key.arg: self._keyword(name, key) for key in node.keywords}
        return {key: value for key, value in read.items() if key is not None}

    def _keyword(self, name: str, keyword: ast.keyword) -> Value:
        reader = READERS.get(keyword.arg or "")
        if reader is None:
            self.note(
                keyword.value, f"input {name!r} has {keyword.arg or '**'}=, which is no keyword of a static Input"
            )
            return None
        try:
            return reader(self.source, keyword.value)
        except UnreadableError as error:
            consequence = CONSEQUENCE.get(keyword.arg or "", DROPPED)
            self.note(keyword.value, f"input {name!r} has {keyword.arg}= that {error}; {consequence}")
            return None


def _unquoted(node: ast.expr) -> ast.expr:
    """The expression inside a quoted annotation; the node itself when it is not one."""
    if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
        return node
    try:
        return ast.parse(node.value, mode="eval").body
    except SyntaxError:
        return node


def _arguments_with_defaults(method: Function) -> Iterator[tuple[ast.arg, ast.expr | None]]:
    """Arguments after `self`, in order, each with its default expression."""
    arguments = method.args
    missing = len(arguments.args) - len(arguments.defaults)
    yield from list(zip(arguments.args, [None] * missing + arguments.defaults, strict=True))[1:]
    yield from zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
