"""Results computed ahead of their use, in a thread."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

ItemT = TypeVar("ItemT")
T = TypeVar("T")


def prefetch(build: Callable[[ItemT], T], items: Iterable[ItemT], depth: int = 2) -> Generator[T, None, None]:
    """`build(item)` of every item in order, computed in a thread that ends with the iterator.

    While the caller works on one result, up to `depth` more are ready and another one is being built.
    """
    pool, pending = ThreadPoolExecutor(1, thread_name_prefix="tirgn-prefetch"), deque[Future[T]]()
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
