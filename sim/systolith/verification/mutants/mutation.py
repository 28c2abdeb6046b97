"""Small faults: where one could be seeded into a Python source, and the source with it."""

import ast
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BINARY: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.BitAnd: ("&", "|"), ast.BitOr: ("|", "&"),
    ast.LShift: ("<<", ">>"), ast.RShift: (">>", "<<"), ast.Mod: ("%", "//"), ast.FloorDiv: ("//", "%"),
}  # fmt: skip
_COMPARE: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="),
}  # fmt: skip
_SATURATE = ("saturate", "clip", "minimum", "maximum", "min", "max")
_SIZED = ("range", "unsigned", "signed", "exact_log2")
#: How often a kind is chosen: there are many constants and few Mux arms, and all deserve attention.
_WEIGHTS = {
    "operator": 1.0, "constant": 0.4, "width": 1.5, "saturation": 3.0, "reset": 1.0, "condition": 1.5, "arms": 3.0,
    "assignment": 1.0,
}  # fmt: skip
#: What describes the design and its errors instead of being it. Models are compared with the hardware beside them.
_SKIPPED_FUNCTIONS = ("model", "__repr__", "__str__")


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """One replacement in one file.

    Parameters
    ----------
    path : str
        The file, relative to the root of the project.
    line : int
        First line of the replaced text, from 1.
    scope : str
        Names of the classes and functions around it, joined by dots.
    kind : str
        A key of the kinds of fault: operator, constant, width, saturation, reset, condition, arms, assignment.
    start, end : int, bytes
        The replaced text.
    text : str
        What stands there instead.
    before, after : str
        The lines concerned, without and with the fault, each run of white space being one space.
    """

    path: str
    line: int
    scope: str
    kind: str
    start: int
    end: int
    text: str
    before: str
    after: str

    def apply(self, source: bytes) -> bytes:
        """The source with the fault."""
        return source[: self.start] + self.text.encode() + source[self.end :]

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.before}  ->  {self.after}"


def mutations(root: Path, path: str) -> list[Mutation]:
    """Every fault that could be seeded into the file ``path`` under ``root``, in the order of the text."""
    source = (root / path).read_bytes()
    found: dict[tuple[str, str, str], Mutation] = {}
    for scope, kind, start, end, text in _Sites(source).all():
        mutation = _described(path, source, scope, kind, start, end, text)
        # Twice the same line in one scope: one of them stands for both.
        found.setdefault((scope, mutation.before, mutation.after), mutation)
    return [m for m in found.values() if m.before != m.after]


def sample(root: Path, paths: list[str], seed: int) -> list[Mutation]:
    """All faults of these files in the order of choice: one of each file, then more of the larger ones.

    The choice is that of exponential races (Efraimidis and Spirakis 2006), with a key that depends only on the seed
    and the fault itself: editing one line of a file does not reshuffle the others.
    """
    first, rest = [], []
    for path in paths:
        keyed = sorted(((_key(m, seed), m) for m in mutations(root, path)), key=lambda pair: pair[0])
        first += keyed[:1]
        rest += keyed[1:]
    return [m for group in (first, rest) for _, m in sorted(group, key=lambda pair: pair[0])]


def _key(m: Mutation, seed: int) -> float:
    draw = random.Random(f"{seed}:{m.path}:{m.scope}:{m.before}:{m.after}").random()
    return -math.log(1 - draw) / _WEIGHTS[m.kind]


def _described(path: str, source: bytes, scope: str, kind: str, start: int, end: int, text: str) -> Mutation:
    first = source.rfind(b"\n", 0, start) + 1
    last = source.find(b"\n", end)
    last = len(source) if last < 0 else last
    before = source[first:last].decode()
    after = (source[first:start] + text.encode() + source[end:last]).decode()
    return Mutation(
        path=path, line=source.count(b"\n", 0, start) + 1, scope=scope, kind=kind, start=start, end=end, text=text,
        before=" ".join(before.split()), after=" ".join(after.split()),
    )  # fmt: skip


Site = tuple[str, str, int, int, str]


class _Sites:
    """Walks a source and yields (scope, kind, start, end, replacement)."""

    def __init__(self, source: bytes) -> None:
        self._source = source
        self._tree = ast.parse(source)
        self._lines = [0]
        for line in source.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))
        self._registers = {
            call.func.value.id
            for statement in ast.walk(self._tree)
            if isinstance(statement, ast.AugAssign)
            and isinstance(statement.target, ast.Attribute)
            and statement.target.attr == "sync"
            for call in ast.walk(statement.value)
            if isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and call.func.attr == "eq"
            and isinstance(call.func.value, ast.Name)
        }

    def all(self) -> Iterator[Site]:
        yield from self._visit(self._tree, ())

    def _visit(self, node: ast.AST, scope: tuple[str, ...]) -> Iterator[Site]:
        if isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom):
            return
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            if node.name in _SKIPPED_FUNCTIONS:
                return
            scope = (*scope, node.name)
        for kind, target, text in self._faults(node):
            start, end = self._span(target)
            yield ".".join(scope), kind, start, end, text
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_comment"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from self._visit(child, scope)

    def _faults(self, node: ast.AST) -> Iterator[tuple[str, ast.AST, str]]:
        match node:
            case ast.BinOp():
                yield from self._binary(node)
            case ast.Compare(ops=[op]) if type(op) in _COMPARE:
                yield "operator", node, self._swapped(node, node.left, node.comparators[0], *_COMPARE[type(op)])
            case ast.BoolOp(values=[left, right]):
                yield "condition", node, self._text(left)
                yield "condition", node, self._text(right)
            case ast.UnaryOp(op=ast.Invert() | ast.Not(), operand=operand):
                yield "operator", node, self._text(operand)
            case ast.Constant(value=int() as value) if not isinstance(value, bool):
                yield "constant", node, str(value + 1)
                if value > 0:
                    yield "constant", node, str(value - 1)
            case ast.Slice():
                for bound in (node.lower, node.upper):
                    if bound is not None and not isinstance(bound, ast.Constant):
                        yield "width", bound, f"({self._text(bound)}) - 1"
            case ast.Call():
                yield from self._call(node)
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id="Signal")) as call):
                # Only a register has a reset to lose.
                if name in self._registers and not any(k.arg == "reset_less" for k in call.keywords):
                    given = self._text(call)[:-1].rstrip().rstrip(",")
                    yield "reset", call, f"{given}{', ' if call.args or call.keywords else ''}reset_less=True)"
            case ast.With():
                yield from self._guard(node)
            case ast.AugAssign() | ast.Expr(value=ast.Call()):
                yield from self._statement(node)

    def _binary(self, node: ast.BinOp) -> Iterator[tuple[str, ast.AST, str]]:
        if type(node.op) in _BINARY:
            yield "operator", node, self._swapped(node, node.left, node.right, *_BINARY[type(node.op)])
        if isinstance(node.op, ast.BitAnd):
            yield "condition", node, f"({self._text(node.left)})"
            yield "condition", node, f"({self._text(node.right)})"

    def _call(self, node: ast.Call) -> Iterator[tuple[str, ast.AST, str]]:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        arguments = [self._text(a) for a in node.args]
        if name in _SATURATE and len(arguments) >= 2:
            yield "saturation", node, f"({arguments[0]})"
        if name == "Mux" and len(arguments) == 3:
            yield "arms", node, f"{self._text(node.func)}({arguments[0]}, {arguments[2]}, {arguments[1]})"
        if name in _SIZED and arguments and not isinstance(node.args[-1], ast.Constant):
            yield "width", node.args[-1], f"({arguments[-1]}) - 1"
        if name == "Signal":
            for keyword in node.keywords:
                if keyword.arg == "init":
                    yield "reset", keyword.value, f"1 - ({self._text(keyword.value)})"

    def _guard(self, node: ast.With) -> Iterator[tuple[str, ast.AST, str]]:
        for item in node.items:
            call = item.context_expr
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in ("If", "Elif"):
                yield "condition", call.args[0], f"({self._text(call.args[0])}) | 1"

    def _statement(self, node: ast.AugAssign | ast.Expr) -> Iterator[tuple[str, ast.AST, str]]:
        yield "assignment", node, "pass"
        if isinstance(node, ast.AugAssign) and isinstance(node.value, ast.List) and len(node.value.elts) > 1:
            for element in node.value.elts:
                yield "assignment", element, "*()"

    def _swapped(self, node: ast.AST, left: ast.AST, right: ast.AST, old: str, new: str) -> str:
        """The text of ``node`` with another operator between its operands, whose parentheses belong to neither."""
        (start, end), left_end, right_start = self._span(node), self._span(left)[1], self._span(right)[0]
        between = self._source[left_end:right_start].replace(old.encode(), new.encode(), 1)
        return (self._source[start:left_end] + between + self._source[right_start:end]).decode()

    def _text(self, node: ast.AST) -> str:
        start, end = self._span(node)
        return self._source[start:end].decode()

    def _span(self, node: ast.AST) -> tuple[int, int]:
        assert isinstance(node, ast.expr | ast.stmt)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._lines[node.lineno - 1] + node.col_offset, self._lines[node.end_lineno - 1] + node.end_col_offset
