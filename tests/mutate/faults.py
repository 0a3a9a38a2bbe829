"""Single faults in source code: cosmic-ray's operators, and three of ours for what deep learning code gets wrong silently.

Cosmic-ray replaces operators, comparisons, constants and keywords. It does not forget an argument, a call or a decay, and most
of the silent faults of a training are of that kind: label smoothing not passed on, a schedule not applied, no ``eval()``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from cosmic_ray import plugins
from cosmic_ray.ast import Visitor, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from parso.python.tree import Number, PythonNode

BINARY = ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Mul", "Mod_FloorDiv", "Pow_Mul")
COMPARED = ("Eq_NotEq", "NotEq_Eq", "Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt", "Lt_Gt", "Gt_Lt", "Is_IsNot", "IsNot_Is")
NAMES = (  # of cosmic-ray's 213, those whose result usually still runs: `+` as `<<` is noticed by any test
    *(f"core/ReplaceBinaryOperator_{pair}" for pair in BINARY),
    *(f"core/ReplaceComparisonOperator_{pair}" for pair in COMPARED),
    "core/ReplaceUnaryOperator_Delete_USub",
    "core/ReplaceUnaryOperator_Delete_Not",
    *(f"core/{name}" for name in ("ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd")),
    *(f"core/{name}" for name in ("AddNot", "ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ZeroIterationForLoop")),
)
UNSEEN = ("description", "help", "desc", "prog", "verbose")  # keyword arguments that are read by people alone


@dataclass(frozen=True)
class Fault:
    """One change of one file, and the lines that it touches (1-based, in the file as it stands)."""

    file: str
    operator: str
    occurrence: int
    lines: range

    def plant(self, source: str) -> str | None:
        """Return the changed source, or None if it does not compile."""
        changed = mutate_code(source, operators()[self.operator], self.occurrence)
        return changed if changed and changed != source and _compiles(changed) else None

    def diff(self, source: str) -> str:
        """Return the change as a unified diff with one line of context."""
        sides = (source.splitlines(), (self.plant(source) or "").splitlines())
        return "\n".join(difflib.unified_diff(*sides, f"a/{self.file}", f"b/{self.file}", lineterm="", n=1))


class OtherNumber(Operator):
    """Change a number so that it stays in its usual range: an integer by one, a fraction to twice or half of it."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        if isinstance(node, Number):
            yield from [(node.start_pos, node.end_pos)] * 2

    def mutate(self, node: Any, index: int) -> Any:
        value = eval(node.value)
        other = value + (1, -1)[index] if isinstance(value, int) else value * (2, 0.5)[index]
        return Number(f"({other})" if str(other).startswith("-") else str(other), node.start_pos, node.prefix)

    @classmethod
    def examples(cls) -> tuple[Any, ...]:
        return ()


class ForgottenArgument(Operator):
    """Leave out one keyword argument of a call, so that the callee's default holds."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        if node.type == "arglist":
            for child in self._keywords(node):
                yield (child.start_pos, child.end_pos)

    def mutate(self, node: Any, index: int) -> Any:
        dropped = self._keywords(node)[index]
        place = node.children.index(dropped)
        comma = place + 1 if place + 1 < len(node.children) else place - 1
        gone = {id(dropped), id(node.children[comma])}
        return PythonNode("arglist", [child for child in node.children if id(child) not in gone])

    @staticmethod
    def _keywords(node: Any) -> list[Any]:
        named = [child for child in node.children if child.type == "argument" and child.children[1] == "="]
        return [child for child in named if child.children[0].value not in UNSEEN]

    @classmethod
    def examples(cls) -> tuple[Any, ...]:
        return ()


class ForgottenCall(Operator):
    """Leave out a statement that is nothing but a call, or an assignment to something that exists (``x += 1``, ``a.b = c``)."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        if node.type == "simple_stmt" and self._has_effect(node.children[0]):
            yield (node.start_pos, node.children[0].end_pos)

    def mutate(self, node: Any, index: int) -> Any:
        prefix = node.get_first_leaf().prefix
        node.children[0] = get_ast("pass").children[0]
        node.get_first_leaf().prefix = prefix
        return node

    @staticmethod
    def _has_effect(statement: Any) -> bool:
        if statement.type in ("power", "atom_expr"):
            last = statement.children[-1]
            called = last.type == "trailer" and last.children[0] == "("
            return bool(called and statement.children[0] not in ("print", "log", "super"))
        if statement.type != "expr_stmt" or statement.children[1].type == "annassign":
            return False
        return statement.children[1].type == "augassign" or statement.children[0].type in ("power", "atom_expr")

    @classmethod
    def examples(cls) -> tuple[Any, ...]:
        return ()


class _Positions(Visitor):
    """Positions of one operator, in the order in which cosmic-ray counts its occurrences."""

    def __init__(self, operator: Operator) -> None:
        self.operator, self.found = operator, []

    def visit(self, node: Any) -> Any:
        self.found += list(self.operator.mutation_positions(node))
        return node


@cache
def operators() -> dict[str, Operator]:
    """Return every operator that is planted, by name."""
    theirs = {name.partition("/")[2]: plugins.get_operator(name)() for name in NAMES}
    return theirs | {kind.__name__: kind() for kind in (OtherNumber, ForgottenArgument, ForgottenCall)}


def faults_of(file: str, source: str) -> list[Fault]:
    """Return every fault of a file, in the order of operators and lines."""
    found = []
    for name, operator in operators().items():
        places = _Positions(operator)
        places.walk(get_ast(source))
        found += [Fault(file, name, i, range(first, last + 1)) for i, ((first, _), (last, _)) in enumerate(places.found)]
    return found


def _compiles(source: str) -> bool:
    try:
        compile(source, "mutant", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True
