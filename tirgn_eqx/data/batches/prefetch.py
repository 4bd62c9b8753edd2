"""Results computed ahead of their use, in a thread."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def prefetch(build: Callable[[Any], T], items: Iterable[Any], depth: int = 2) -> Generator[T, None, None]:
    """`build(item)` of every item in order, computed in a thread that ends with the iterator.

    While the caller works on one result, up to `depth` more are ready and another one is being built.
    """
    pool, pending = ThreadPoolExecutor(1, thread_name_prefix="tirgn-prefetch"), deque()
    try:
        for item in items:
            pending.append(pool.submit(build, item))
            if len(pending) > depth + 1:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        # A caller that stops early ends here as well: nothing more is built, and the thread is gone.
        pool.shutdown(cancel_futures=True)
