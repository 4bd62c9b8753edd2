"""Things built ahead of their use, in a thread."""

import queue
import threading
from collections.abc import Callable, Generator
from typing import Any, TypeVar

T = TypeVar("T")


def prefetch(build: Callable[[Any], T], items: Any, depth: int = 2) -> Generator[T, None, None]:
    """`build(item)` for every item, up to `depth` ahead, in a thread that ends with the iterator."""
    ready: queue.Queue = queue.Queue(depth)
    stop = threading.Event()

    def put(message) -> bool:
        while not stop.is_set():
            try:
                ready.put(message, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put((build(item), None)):
                    return
            put((None, None))
        except BaseException as error:
            put((None, error))

    thread = threading.Thread(target=work, daemon=True, name="tirgn-prefetch")
    thread.start()
    try:
        while True:
            value, error = ready.get()
            if error is not None:
                raise error
            if value is None:
                return
            yield value
    finally:
        stop.set()
        thread.join()
