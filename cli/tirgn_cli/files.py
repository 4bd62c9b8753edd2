"""Files that commands write: whole or not at all, and known to be writable before the work begins."""

import os
import tempfile
from pathlib import Path

from tirgn_eqx.errors import ConfigError


def check_writable(path: Path) -> None:
    """Make the folder of `path`. **Raises:** ConfigError when a file cannot be written there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        usable = not path.is_dir() and os.access(path.parent, os.W_OK)
    except OSError:
        usable = False
    if not usable:
        raise ConfigError(
            f"{path}: cannot be written (a folder, or in a place without permission); name a file elsewhere"
        )


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`; a file that is there is replaced whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
