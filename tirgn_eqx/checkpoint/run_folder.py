"""The folder of a training: one process at a time works in it, and old checkpoints leave it."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tirgn_eqx.checkpoint.files import load_checkpoint
from tirgn_eqx.errors import CheckpointError
from tirgn_eqx.storage.locks import exclusive_lock

TRAIN_LOCK = ".train.lock"
_NUMBERED = re.compile(r"tirgn_epoch_(\d+)\.npz")


@contextmanager
def working_alone(folder: Path, name: str = TRAIN_LOCK, what: str = "training") -> Iterator[None]:
    """Make the folder, and keep others out of it by the lock file `name`. **Raises:** CheckpointError while another
    process is at work there, or when it cannot be written."""
    busy = CheckpointError(f"{folder}: another {what} is at work here; wait for its end, or choose another --model-dir")
    with ExitStack() as stack:
        try:
            stack.enter_context(exclusive_lock(folder / name, busy))
        except OSError as error:
            raise CheckpointError(
                f"{folder}: cannot be written ({error.strerror}); choose another --model-dir"
            ) from error
        yield


def numbered(epoch: int) -> str:
    """Name of the checkpoint after an epoch."""
    return f"tirgn_epoch_{epoch}"


def prune(newest: Path, epoch: int, keep: int) -> None:
    """Remove the numbered checkpoints before `newest`, that of `epoch`, but for `keep` with it; those of later epochs
    are of another training.

    **Raises:** CheckpointError, and nothing is removed, when `newest` cannot be read back whole.
    """
    load_checkpoint(newest)
    found = {int(match[1]): path for path in newest.parent.iterdir() if (match := _NUMBERED.fullmatch(path.name))}
    for old in sorted(number for number in found if number < epoch)[: -(keep - 1) or None]:
        # The json first: an npz without it is whole, a json by itself is nothing.
        found[old].with_suffix(".json").unlink(missing_ok=True)
        found[old].unlink(missing_ok=True)
