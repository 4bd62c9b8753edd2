"""The bytes that a compiled program moves between devices, read from its text.

XLA writes every collective with its shape and its groups of devices. Those in the body of a loop count as often as the
loop runs, which XLA writes too where it knows it. A device of a group of n sends, by the usual ring algorithms,

| collective | bytes sent per device, result of b bytes |
|---|---|
| all-reduce | 2 b (n - 1) / n |
| all-gather, all-to-all | b (n - 1) / n |
| reduce-scatter | b (n - 1) |
| collective-permute | b |
"""

import math
import re
from collections import defaultdict
from dataclasses import dataclass

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
WIDTHS = {"pred": 1, "bf16": 2, "f16": 2}  # of types whose name does not end with their bits
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_COLLECTIVE = re.compile(rf" = (.*?) ({'|'.join(KINDS)})(-start)?\(")
_SHAPE = re.compile(r"(pred|bf16|[a-z]+\d+)\[([\d,]*)\]")
_GROUPS = re.compile(r"replica_groups=(?:\[(\d+),(\d+)\]|\{\{([\d,]*)\})")
_CALLED = re.compile(r"(body|condition|to_apply|calls|true_computation|false_computation)=%?([\w.\-]+)")
_TRIPS = re.compile(r'"?known_trip_count"?:\{"?n"?:"?(\d+)')


@dataclass(frozen=True)
class Collective:
    """One collective of a program: its kind, where in the source it comes from, bytes of its result, devices in a
    group, how often it runs, and whether that is known."""

    kind: str
    source: str
    result_bytes: int
    devices: int
    times: int
    exact: bool

    @property
    def sent_bytes(self) -> float:
        """Sent by a device in a step."""
        n, b = self.devices, self.result_bytes
        share = {"all-reduce": 2 * (n - 1) / n, "reduce-scatter": n - 1, "collective-permute": 1}
        return self.times * b * share.get(self.kind, (n - 1) / n)


def _bytes(shapes: str) -> int:
    total = 0
    for kind, dims in _SHAPE.findall(shapes):
        width = WIDTHS.get(kind) or max(1, int(re.sub(r"\D", "", kind)) // 8)
        total += width * math.prod(int(dim) for dim in dims.split(",") if dim)
    return total


def collectives(text: str, devices: int) -> list[Collective]:
    """The collectives of a compiled program on so many devices.

    **Arguments:** `text`: of the optimised program, as `compiled.as_text()` gives it.
    """
    found: dict[str, list[tuple[str, str, int, int]]] = defaultdict(list)
    called: dict[str, list[tuple[str, int, bool]]] = defaultdict(list)
    entry = current = ""
    for line in text.splitlines():
        if head := _COMPUTATION.match(line):
            current = head[2]
            entry = current if head[1] else entry
            continue
        if made := _COLLECTIVE.search(line):
            groups = _GROUPS.search(line)
            size = devices
            if groups:
                size = int(groups[2]) if groups[2] else len((groups[3] or "0").split(","))
            source = re.search(r'op_name="([^"]*)"', line)
            found[current].append((made[2], source[1] if source else "", _bytes(made[1]), size))
        trips = _TRIPS.search(line)
        for role, name in _CALLED.findall(line):
            loop = role in ("body", "condition")
            called[current].append((name, int(trips[1]) if loop and trips else 1, not loop or bool(trips)))
    result: list[Collective] = []

    def walk(name: str, times: int, exact: bool) -> None:
        for kind, source, size, group in found[name]:
            result.append(Collective(kind, source, size, group, times, exact))
        for child, count, known in called[name]:
            walk(child, times * count, exact and known)

    walk(entry, 1, True)
    return result
