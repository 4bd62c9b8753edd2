"""What a program sends, read from its text."""

from benchmarks.collectives import collectives
from tests.benchmarks.compiled_program import PROGRAM


def test_what_a_program_sends_is_counted_with_its_loops():
    found = {one.kind: one for one in collectives(PROGRAM, 4)}
    reduced, gathered, moved = (found[kind] for kind in ("all-reduce", "all-gather", "collective-permute"))
    assert (reduced.result_bytes, reduced.devices, reduced.times, reduced.exact) == (132, 2, 3, True)
    assert reduced.sent_bytes == 3 * 132 and reduced.source == "jit(step)/while"
    assert (gathered.result_bytes, gathered.devices, gathered.sent_bytes) == (256, 4, 192)
    assert moved.sent_bytes == 512
