"""Programs for backends that are not here."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import pytest


@contextmanager
def traced_for(backend: str) -> Iterator[None]:
    """What is traced meanwhile takes its choices for another backend; it still runs on the one that is here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "default_backend", lambda: backend)
        yield
