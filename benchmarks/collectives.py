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

import re
from dataclasses import dataclass

from benchmarks.program import executed, shape_bytes

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_COLLECTIVE = re.compile(rf" = (.*?) ({'|'.join(KINDS)})(-start)?\(")
_GROUPS = re.compile(r"replica_groups=(?:\[(\d+),(\d+)\]|\{\{([\d,]*)\})")
_SOURCE = re.compile(r'op_name="([^"]*)"')


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


def collectives(text: str, devices: int) -> list[Collective]:
    """The collectives of a compiled program on so many devices.

    **Arguments:** `text`: of the optimised program, as `compiled.as_text()` gives it.
    """
    result = []
    for one in executed(text):
        if made := _COLLECTIVE.search(one.line):
            groups = _GROUPS.search(one.line)
            size = devices
            if groups:
                size = int(groups[2]) if groups[2] else len((groups[3] or "0").split(","))
            source = _SOURCE.search(one.line)
            kind, moved = made[2], shape_bytes(made[1])
            result.append(Collective(kind, source[1] if source else "", moved, size, one.times, one.exact))
    return result
