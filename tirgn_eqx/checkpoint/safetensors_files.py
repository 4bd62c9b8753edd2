"""Checkpoints as safetensors files, the format in which other tools exchange weights, and back.

A file holds the arrays of the checkpoint under their names, bit for bit, and the metadata as JSON under the key `tirgn`
of its header. The package `safetensors` is optional; only these functions import it.
"""
# Its annotations are partial.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from pathlib import Path
from typing import cast

import numpy as np

from tirgn_eqx.checkpoint.files import Checkpoint, load_checkpoint
from tirgn_eqx.errors import CheckpointError, ConfigError
from tirgn_eqx.storage.atomic_write import atomic_write
from tirgn_eqx.storage.strict_json import to_json
from tirgn_eqx.storage.untrusted import check_regular, parse_json, told

KEY = "tirgn"
_EXPECTED = "give a file that `tirgn export --safetensors` wrote"


def export_safetensors(checkpoint: str | Path, path: str | Path) -> Path:
    """Write the arrays and the metadata of a checkpoint as a safetensors file.

    **Arguments:** `checkpoint`: see `load_checkpoint`; `path`: of the file to write.

    **Returns:** `path`.

    **Raises:** CheckpointError for a checkpoint that cannot be read; ConfigError without the package `safetensors`;
    OSError when the file cannot be written, and one that was there before stays whole.

    **Example:**

        export_safetensors("models/tkg/tirgn_best.npz", "tirgn.safetensors")
        found = read_safetensors("tirgn.safetensors")
        save_checkpoint("models/again.npz", found.arrays, found.metadata)
    """
    check_installed()
    from safetensors.numpy import save_file

    found = load_checkpoint(checkpoint)
    # The format knows no byte order but little-endian and no order of axes but C's.
    arrays = {name: np.asarray(array, order="C") for name, array in found.arrays.items()}
    with atomic_write(path) as temporary:
        save_file(arrays, temporary, metadata={KEY: to_json(found.metadata)})
    return Path(path)


def read_safetensors(path: str | Path) -> Checkpoint:
    """Read a file that `export_safetensors` wrote; `save_checkpoint` makes a checkpoint of it again.

    **Raises:** CheckpointError for a file that is missing, damaged, or of another program; ConfigError without the
    package `safetensors`.
    """
    check_installed()
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    try:
        check_regular(path)
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(KEY)
            arrays = {name: np.asarray(file.get_tensor(name)) for name in file.keys()}
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: cannot be read ({told(error)}); {_EXPECTED}") from error
    if text is None:
        raise CheckpointError(f"{path}: holds arrays without the metadata of a checkpoint; {_EXPECTED}")
    try:
        metadata = parse_json(text)
    except ValueError as error:
        raise CheckpointError(f"{path}: its metadata are no JSON ({told(error)}); {_EXPECTED}") from error
    if not isinstance(metadata, dict):
        raise CheckpointError(f"{path}: its metadata are {type(metadata).__name__}, not names and values; {_EXPECTED}")
    return Checkpoint(arrays, cast(dict[str, object], metadata), path)


def check_installed() -> None:
    """**Raises:** ConfigError without the package `safetensors`."""
    try:
        import safetensors  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise ConfigError("safetensors is not installed; run: pip install 'tirgn-eqx[safetensors]'") from error
