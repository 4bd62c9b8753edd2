"""Files that commands write: known to be writable before the work begins."""

import os
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
