"""Results computed ahead, in order, in a thread that ends."""

import threading

import pytest

from tests.helpers import prefetching_threads
from tirgn_eqx.data.batches.prefetch import prefetch


def test_prefetch_gives_everything_in_order_and_ends():
    assert list(prefetch(lambda x: x * x, range(50))) == [x * x for x in range(50)]
    assert not prefetching_threads()


def test_prefetch_stays_a_few_ahead():
    built, enough = [], threading.Event()

    def build(x):
        built.append(x)
        if x == 3:
            enough.set()
        return x

    items = prefetch(build, range(1000), depth=2)
    assert next(items) == 0
    # One was taken, two wait in the queue, and a fourth is in the thread's hands.
    assert enough.wait(10) and built == [0, 1, 2, 3]
    items.close()
    assert built == [0, 1, 2, 3] and not prefetching_threads()


def test_prefetch_passes_errors_on_after_what_came_before():
    def build(x):
        if x == 2:
            raise ValueError("broken item")
        return x

    items = prefetch(build, range(5))
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(ValueError, match="broken item"):
        next(items)
    assert not prefetching_threads()

    def broken():
        yield 1
        raise RuntimeError("broken source")

    with pytest.raises(RuntimeError, match="broken source"):
        list(prefetch(lambda x: x, broken()))
    assert not prefetching_threads()
