"""Files that commands write: known to be writable before the work begins."""

import os
from pathlib import Path

from tirgn_eqx.errors import ConfigError


def check_writable(path: Path, folder: bool = False) -> None:
    """Make the folder of `path`. **Raises:** ConfigError when a file, or a `folder`, cannot be written there."""
    path = path.expanduser() if folder else path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        usable = (folder or path.is_file() or not path.exists()) and os.access(path.parent, os.W_OK)
    except OSError:
        usable = False
    if not usable:
        what, kind = ("in", "folder") if folder else ("a folder, a device, or in", "file")
        raise ConfigError(f"{path}: cannot be written ({what} a place without permission); name a {kind} elsewhere")
