"""Reads literals as Cog's static generator reads them: from the text of one file, without running it.

In: the source of a predictor file. Out: the Python value of an expression, or `UnreadableError` with the reason why
Cog would drop it, refuse it or read something else than Python does.
Refuses to know: what an input, a predictor or a schema is.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

Scalar = str | int | float | bool | None
Literal = Scalar | list[Scalar]

DECIMAL = re.compile(r"[+-]?(\d[\d_]*(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
QUOTED = re.compile(r"(\"\"\"|'''|\"|')(.*)\1", re.DOTALL)
RAW_QUOTED = re.compile(r"r([\"'])(?!\1\1)(.*)\1", re.DOTALL)
INT64 = range(-(2**63), 2**63)
KINDS = {
    ast.JoinedStr: "is an f-string",
    ast.Call: "is a call",
    ast.Attribute: "is an attribute",
    ast.Subscript: "is a subscript",
    ast.BinOp: "is an expression",
    ast.Tuple: "is a tuple",
    ast.ListComp: "is a comprehension",
}


class UnreadableError(ValueError):
    """Cog would not read this expression, or would read another value than Python; the text is the reason."""


@dataclass(frozen=True, slots=True)
class Source:
    """One parsed file with what the reading rules need beside its syntax tree.

    Args:
        text: the file, UTF-8 encoded: syntax-tree columns count bytes.
        line_starts: byte offset of every line.
        comment_lines: 1-based lines that hold a comment.
        bindings: every value a module-level name gets; None where it is not bound by a plain top-level assignment.
        imports: local name -> (module, original name) of top-level `from` imports; (module, "") of plain imports.
    """

    path: Path
    text: bytes
    line_starts: tuple[int, ...]
    tree: ast.Module
    comment_lines: frozenset[int]
    bindings: Mapping[str, tuple[ast.expr | None, ...]]
    imports: Mapping[str, tuple[str, str]]

    @classmethod
    def read(cls, path: Path) -> Source:
        """Parse a file. Raises `SyntaxError` when it is not Python and `OSError` when it cannot be read."""
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text, filename=path.name)
        data = text.encode()
        return cls(path, data, _line_starts(data), tree, _comment_lines(text), _bindings(tree), _imports(tree))

    def segment(self, node: ast.expr) -> str:
        """The source text of an expression, without parentheses around it."""
        return self.text[self._offset(node.lineno, node.col_offset) : self._end(node)].decode()

    def literal(self, node: ast.expr) -> Literal:
        """Value of a literal, or of a module-level NAME bound once to a literal in this file."""
        return self._plain(self._bound(node) if isinstance(node, ast.Name) else node)

    def string(self, node: ast.expr, *, names: bool = False) -> str:
        """Value of one string literal; with `names` also of a NAME bound to one."""
        value = self.literal(node) if names else self._plain(node)
        if not isinstance(value, str):
            raise UnreadableError("is not a string")
        return value

    def number(self, node: ast.expr) -> int | float:
        """Value of a plain decimal number; names are not looked up."""
        if isinstance(node, ast.Name):
            raise UnreadableError("is a name, and only a number written in place is read")
        value = self._plain(node)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UnreadableError("is not a number")
        return value

    def boolean(self, node: ast.expr) -> bool:
        """True or False, written in place."""
        if not (isinstance(node, ast.Constant) and isinstance(node.value, bool)):
            raise UnreadableError("is not True or False")
        return node.value

    def items(self, node: ast.expr) -> list[Scalar]:
        """Values of a list literal, of a NAME bound to a list or tuple literal, or of a sum of these."""
        self._refuse_parentheses(node)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return self.items(node.left) + self.items(node.right)
        if isinstance(node, ast.Name):
            bound = self._bound(node)
            if isinstance(bound, ast.Tuple) and self.segment(bound).startswith("("):
                return [self._scalar(item, inside=bound) for item in bound.elts]
            node = bound
        if not isinstance(node, ast.List):
            raise UnreadableError(KINDS.get(type(node), "is not a list"))
        return self._list(node)

    def _plain(self, node: ast.expr) -> Literal:
        self._refuse_parentheses(node)
        return self._list(node) if isinstance(node, ast.List) else self._scalar(node)

    def _scalar(self, node: ast.expr, inside: ast.Tuple | None = None) -> Scalar:
        self._refuse_parentheses(node, inside)
        match node:
            case ast.Constant(value=str()):
                return self._string_value(node)
            case ast.Constant(value=bool() | None):
                return node.value
            case ast.Constant(value=int() | float()) | ast.UnaryOp(operand=ast.Constant()):
                return self._number_value(node)
        raise UnreadableError(KINDS.get(type(node), "is not a literal"))

    def _list(self, node: ast.List) -> list[Scalar]:
        if any(line in self.comment_lines for line in range(node.lineno, node.end_lineno or node.lineno)):
            raise UnreadableError("has a comment inside the list")
        return [self._scalar(item) for item in node.elts]

    def _string_value(self, node: ast.Constant) -> str:
        text = self.segment(node)
        match = QUOTED.fullmatch(text) or RAW_QUOTED.fullmatch(text)
        if match is None:
            raise UnreadableError('has a prefix that Cog does not read; only r"..." is')
        if match[2] == node.value:
            return match[2]
        if "\\" in text:
            raise UnreadableError(
                "has a backslash, which Cog does not decode; use triple quotes and real line breaks"
            )
        raise UnreadableError(f"joins several strings, of which Cog makes {match[2]!r}")

    def _number_value(self, node: ast.expr) -> int | float:
        text = self.segment(node)
        if DECIMAL.fullmatch(text) is None:
            raise UnreadableError(f"is {text}, not a plain decimal number")
        value = ast.literal_eval(text)
        if isinstance(value, int) and value not in INT64:
            raise UnreadableError("does not fit in 64 bits")
        return value

    def _bound(self, node: ast.Name) -> ast.expr:
        """The one expression a module-level name stands for."""
        if node.id in self.imports:
            raise UnreadableError(
                f"is imported from {self.imports[node.id][0]}, and Cog reads names of this file only"
            )
        values = self.bindings.get(node.id, ())
        if not values:
            raise UnreadableError("is not assigned in this file")
        if len(values) > 1:
            raise UnreadableError("is assigned more than once")
        if values[0] is None:
            raise UnreadableError("is not assigned at the top level of the file")
        if isinstance(values[0], ast.Name):
            raise UnreadableError(f"is another name for {values[0].id}")
        return values[0]

    def _refuse_parentheses(self, node: ast.expr, inside: ast.Tuple | None = None) -> None:
        """Cog takes no literal in parentheses; those of the tuple that holds it are not its own."""
        before = self.text[: self._offset(node.lineno, node.col_offset)].rstrip()
        of_tuple = inside is not None and len(before) == self._offset(inside.lineno, inside.col_offset) + 1
        if before.endswith(b"(") and not of_tuple:
            raise UnreadableError("is in parentheses")

    def _offset(self, line: int, column: int) -> int:
        return self.line_starts[line - 1] + column

    def _end(self, node: ast.expr) -> int:
        return self._offset(node.end_lineno or node.lineno, node.end_col_offset or node.col_offset)


def _line_starts(text: bytes) -> tuple[int, ...]:
    lengths = (len(line) for line in text.splitlines(keepends=True))
    return tuple(accumulate(lengths, initial=0))


def _comment_lines(text: str) -> frozenset[int]:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return frozenset(token.start[0] for token in tokens if token.type == tokenize.COMMENT)


def _imports(tree: ast.Module) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            found.update({alias.asname or alias.name: (module, alias.name) for alias in node.names})
        elif isinstance(node, ast.Import):
            found.update({alias.asname or alias.name.split(".")[0]: (alias.name, "") for alias in node.names})
    return found


def _bindings(tree: ast.Module) -> dict[str, tuple[ast.expr | None, ...]]:
    found: dict[str, list[ast.expr | None]] = defaultdict(list)
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                found[name].append(value)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                found[name].append(value)
            case _:
                for name in _stored_names(statement):
                    found[name].append(None)
    return {name: tuple(values) for name, values in found.items()}


def _stored_names(node: ast.AST) -> Iterator[str]:
    """Names a statement binds in its own scope, however deep; functions and classes have scopes of their own."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
        return
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    for child in ast.iter_child_nodes(node):
        yield from _stored_names(child)
