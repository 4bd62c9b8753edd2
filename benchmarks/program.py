"""Instructions of a compiled program with how often each of them runs, and its dense products, read from its text.

XLA's own count of operations takes the body of a loop once; here it counts as often as the loop runs, which XLA writes
where it knows it.
"""

import math
import re
from collections import defaultdict
from dataclasses import dataclass

WIDTHS = {"pred": 1, "bf16": 2, "f16": 2}  # of types whose name does not end with their bits
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_SHAPE = re.compile(r"(pred|bf16|[a-z]+\d+)\[([\d,]*)\]")
_CALLED = re.compile(r"(body|condition|to_apply|calls|true_computation|false_computation)=%?([\w.\-]+)")
_TRIPS = re.compile(r'"?known_trip_count"?:\{"?n"?:"?(\d+)')
_NAMED = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = ([a-z]\w*\[[\d,]*\])")
_DOT = re.compile(r" = (\S+) dot\((.*?)\), .*?lhs_contracting_dims=\{([\d,]*)\}")
_OPERAND = re.compile(r"%([\w.\-]+)")


@dataclass(frozen=True)
class Instruction:
    """A line of a program, the computation it stands in, how often it runs, and whether that is known."""

    line: str
    computation: str
    times: int
    exact: bool


@dataclass(frozen=True)
class Product:
    """A dense product: its operations (2 per multiply-add), bytes of operands and result, how often it runs."""

    flops: float
    bytes: int
    times: int


def shape_bytes(shapes: str) -> int:
    """Bytes of all arrays that a text names, such as `(f32[8,4]{1,0}, f32[1])`."""
    total = 0
    for kind, dims in _SHAPE.findall(shapes):
        width = WIDTHS.get(kind) or max(1, int(re.sub(r"\D", "", kind)) // 8)
        total += width * math.prod(_numbers(dims))
    return total


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",") if number]


def _computations(text: str) -> tuple[str, dict[str, list[str]]]:
    """(name of the first to run, lines of each by its name)."""
    lines: dict[str, list[str]] = defaultdict(list)
    entry = current = ""
    for line in text.splitlines():
        if head := _COMPUTATION.match(line):
            current = head[2]
            entry = current if head[1] else entry
        else:
            lines[current].append(line)
    return entry, lines


def executed(text: str) -> list[Instruction]:
    """The instructions of a compiled program; one that is reached in several ways comes several times.

    **Arguments:** `text`: of the optimised program, as `compiled.as_text()` gives it.
    """
    entry, lines = _computations(text)
    called: dict[str, list[tuple[str, int, bool]]] = defaultdict(list)
    for name, body in lines.items():
        for line in body:
            trips = _TRIPS.search(line)
            for role, child in _CALLED.findall(line):
                loop = role in ("body", "condition")
                called[name].append((child, int(trips[1]) if loop and trips else 1, not loop or bool(trips)))
    result: list[Instruction] = []

    def walk(name: str, times: int, exact: bool) -> None:
        result.extend(Instruction(line, name, times, exact) for line in lines[name])
        for child, count, known in called[name]:
            walk(child, times * count, exact and known)

    walk(entry, 1, True)
    return result


def products(text: str) -> list[Product]:
    """The dense products of a compiled program on one of its devices.

    **Arguments:** `text`: as `executed` takes it.
    """
    shapes = {
        (name, found[1]): found[2]
        for name, body in _computations(text)[1].items()
        for line in body
        if (found := _NAMED.match(line))
    }
    result = []
    for one in executed(text):
        if not (made := _DOT.search(one.line)):
            continue
        operands = [shapes[one.computation, name] for name in _OPERAND.findall(made[2])]
        sizes = [_numbers(_SHAPE.findall(each)[0][1]) for each in (made[1], operands[0])]
        contracted = math.prod(sizes[1][axis] for axis in _numbers(made[3]))
        moved = sum(map(shape_bytes, (made[1], *operands)))
        result.append(Product(2.0 * math.prod(sizes[0]) * contracted, moved, one.times))
    return result
