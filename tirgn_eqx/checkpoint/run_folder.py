"""The folder of a training: one process at a time works in it, and old checkpoints are removed from it."""

import re
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tirgn_eqx.checkpoint.files import load_checkpoint
from tirgn_eqx.errors import CheckpointError
from tirgn_eqx.storage.locks import exclusive_lock

TRAIN_LOCK = ".train.lock"
_EPOCH_NAME = re.compile(r"tirgn_epoch_(\d+)\.npz")


@contextmanager
def lock_folder(folder: Path, name: str = TRAIN_LOCK, what: str = "training") -> Generator[None]:
    """Make the folder and hold its lock file `name`, so that no other process works there.

    **Raises:** CheckpointError while another process holds the lock, or when the folder cannot be written.
    """
    busy = CheckpointError(f"{folder}: another {what} is at work here; wait for its end, or choose another --model-dir")
    # Only entering is guarded: an OSError of the body says nothing about the lock.
    with ExitStack() as stack:
        try:
            stack.enter_context(exclusive_lock(folder / name, busy))
        except OSError as error:
            raise CheckpointError(
                f"{folder}: cannot be written ({error.strerror}); choose another --model-dir"
            ) from error
        yield


def epoch_name(epoch: int) -> str:
    """Name of the checkpoint that is saved after an epoch, without suffix."""
    return f"tirgn_epoch_{epoch}"


def prune_checkpoints(newest: Path, epoch: int, keep: int) -> None:
    """Remove all but the newest `keep` epoch checkpoints up to `newest`, which is the one of `epoch`.

    Checkpoints of later epochs belong to another training and stay.

    **Raises:** CheckpointError, before anything is removed, when `newest` cannot be read back.
    """
    load_checkpoint(newest)
    found = {int(match[1]): path for path in newest.parent.iterdir() if (match := _EPOCH_NAME.fullmatch(path.name))}
    # `newest` is one of the `keep`: with keep = 3, all but the last two of the older ones go. With keep = 1 the slice
    # would end at -0 and remove nothing, hence None.
    for old in sorted(number for number in found if number < epoch)[: -(keep - 1) or None]:
        # Remove the JSON first: an npz without it is a whole checkpoint, a JSON without its npz is useless.
        found[old].with_suffix(".json").unlink(missing_ok=True)
        found[old].unlink(missing_ok=True)
