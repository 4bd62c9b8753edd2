"""The folder of a training, in which one process at a time works."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tirgn_eqx.errors import CheckpointError
from tirgn_eqx.files import alone

TRAIN_LOCK = ".train.lock"


@contextmanager
def working_alone(folder: Path, name: str = TRAIN_LOCK, what: str = "training") -> Iterator[None]:
    """Make the folder, and keep others out of it by the lock file `name`. **Raises:** CheckpointError while another
    process is at work there, or when it cannot be written."""
    busy = CheckpointError(f"{folder}: another {what} is at work here; wait for its end, or choose another --model-dir")
    with ExitStack() as stack:
        try:
            stack.enter_context(alone(folder / name, busy))
        except OSError as error:
            raise CheckpointError(
                f"{folder}: cannot be written ({error.strerror}); choose another --model-dir"
            ) from error
        yield
