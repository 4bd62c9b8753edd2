"""Files that commands write: known to be writable before the work begins."""

import os
from pathlib import Path

from tirgn_eqx.errors import ConfigError


def check_writable(path: Path, folder: bool = False) -> None:
    """Make the folder of `path`. **Raises:** ConfigError when a file, or a `folder`, cannot be written there."""
    path = path.expanduser() if folder else path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        usable = (folder or not path.is_dir()) and os.access(path.parent, os.W_OK)
    except OSError:
        usable = False
    if not usable:
        why = "(in a place without permission); name a folder" if folder else ""
        why = why or "(a folder, or in a place without permission); name a file"
        raise ConfigError(f"{path}: cannot be written {why} elsewhere")
