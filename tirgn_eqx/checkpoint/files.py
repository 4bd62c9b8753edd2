"""Checkpoint files: `NAME.npz` holds everything, `NAME.json` beside it is for people and other programs.

The npz is an ordinary NumPy archive with the metadata as UTF-8 JSON under `__metadata__`; the JSON file holds the same
metadata and the sha256 of the npz. Each is written under a temporary name and renamed, so that a file with a
checkpoint's name is always whole. Equal contents give equal bytes. Loading never unpickles, and its memory is bounded
by a small multiple of the file's size.
"""

import contextlib
import hashlib
import os
import warnings
import zipfile
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import jax
import numpy as np

from tirgn_eqx.errors import CheckpointError, DataWarning, nearest
from tirgn_eqx.runtime.meshes import Blocks
from tirgn_eqx.runtime.processes import is_first
from tirgn_eqx.storage import npz
from tirgn_eqx.storage.atomic_write import atomic_write, flush
from tirgn_eqx.storage.strict_json import to_json
from tirgn_eqx.storage.untrusted import Unsound, check_regular, parse_json

_METADATA = "__metadata__"
# NumPy's kinds of booleans, integers, unsigned integers, floats and complex numbers. Objects would have to be pickled.
_KINDS = "biufc"
# What the leaves of models and optimizer states are: arrays, rows of arrays on several devices, or shapes alone.
Leaf = jax.Array | np.ndarray | Blocks | jax.ShapeDtypeStruct
_BROKEN = "corrupt or cut short; use another checkpoint, or train again"
_EXPECTED = "give an .npz file that `tirgn train` wrote"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds: arrays by name, JSON-compatible metadata, and the path of the npz."""

    arrays: dict[str, np.ndarray]
    metadata: dict[str, object]
    path: Path


def save_checkpoint(path: str | Path, arrays: Mapping[str, object], metadata: Mapping[str, object]) -> Path:
    """Write `NAME.npz` and `NAME.json`, making the folder where needed.

    Where several processes train one model, all must call it, and the first one writes.

    **Arguments:**

    - `path`: with or without `.npz`.
    - `arrays`: booleans or numbers by name, or `Blocks` of rows, which are written one after another, so that a table
      need not fit into the memory of the host.
    - `metadata`: JSON-compatible values, see `tirgn_eqx.storage.strict_json` (NaN becomes null).

    **Returns:** the path of the npz.

    **Raises:** CheckpointError when the files cannot be written; files that were there before stay whole.
    """
    target = _npz_path(path)
    if not is_first():
        for array in arrays.values():
            # Gathering a block is a collective operation that every process must take part in.
            deque(array if isinstance(array, Blocks) else (), maxlen=0)
        return target

    def side(npz: Path) -> bytes:
        with npz.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return to_json(dict(metadata) | {"sha256": digest}, indent=2).encode() + b"\n"

    _put(target, lambda place: _pack(target, place, arrays, to_json(metadata)), side)
    return target


def replace_checkpoint(path: str | Path, new: str | Path, sha256: str) -> Path:
    """Put the checkpoint `new` in the place of the one at `path`, which is kept as `NAME.previous.npz` and `.json`.

    There is a whole checkpoint at `path` at every moment: a process that is killed leaves the old or the new one.

    **Arguments:** `sha256`: of the npz that is to be replaced.

    **Returns:** the path of the kept npz.

    **Raises:** CheckpointError when the files cannot be read or written, or `path` has changed in the meantime.
    """
    target, source = checkpoint_path(path), checkpoint_path(new)
    previous = target.with_name(f"{target.stem}.previous.npz")
    (content, side), replacement = _read_pair(target), _read_pair(source)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise CheckpointError(f"{target}: was changed by another program in the meantime; it stays, and {source} too")

    def constant(content: bytes) -> Callable[[Path], bytes]:
        return lambda path: content

    # First the copy of the old checkpoint, then the new one, so that a kill in between loses neither.
    for place, (data, beside) in ((previous, (content, side)), (target, replacement)):
        _put(place, lambda path, data=data: path.write_bytes(data), None if beside is None else constant(beside))
    return previous


def _read_pair(path: Path) -> tuple[bytes, bytes | None]:
    """The bytes of an npz, and of the json beside it if there is one."""
    side = path.with_suffix(".json")
    try:
        return path.read_bytes(), side.read_bytes() if side.exists() else None
    except OSError as error:
        raise CheckpointError(_unreadable(path, error)) from error


def _put(target: Path, write: Callable[[Path], object], side: Callable[[Path], bytes] | None) -> None:
    """Write an npz and the JSON beside it, each whole or not at all.

    **Arguments:** `write`: writes the npz to a path; `side`: the content of the JSON, given the path of the npz.
    """
    side_path = target.with_suffix(".json")
    try:
        # The context that is entered last is left first: the npz gets its name before the JSON.
        with contextlib.ExitStack() as places:
            beside = None if side is None else places.enter_context(atomic_write(side_path))
            temporary = places.enter_context(atomic_write(target))
            write(temporary)
            # Flushed here already, so that a full disk shows itself while the old pair is still whole.
            flush(temporary)
            if side is not None and beside is not None:
                beside.write_bytes(side(temporary))
                flush(beside)
            # Delete the old JSON first: a crash between the two renames must not pair it with the new npz.
            side_path.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CheckpointError(f"{target}: cannot be written ({reason}); choose another --model-dir") from error


def load_checkpoint(path: str | Path, *, mapped: bool = False) -> Checkpoint:
    """Read a checkpoint. The npz alone is enough; its sha256 is checked where the JSON is beside it.

    **Arguments:** `path`: with or without `.npz`, or the `.json` beside it; `mapped`: leave the arrays on the disk and
    read them in parts as they are used, for tables that do not fit into memory.

    **Raises:** CheckpointError for a file that is missing, cut short, changed, or no checkpoint.
    """
    path = Path(path)
    if os.path.isdir(path):
        known = ", ".join(sorted(file.name for file in path.glob("*.npz"))) or "none"
        raise CheckpointError(f"{path}: is a folder; give one .npz file (in this folder: {known})")
    source = checkpoint_path(path)
    content = _read_verified(source, npz.mapped if mapped else Path.read_bytes)
    # Every zip archive begins so, and an npz is one.
    if content[:2] != b"PK":
        raise CheckpointError(f"{source}: not a checkpoint; {_EXPECTED}")
    try:
        arrays = npz.read_arrays(content)
    except Unsound as error:
        raise CheckpointError(f"{source}: {error}; {_BROKEN}") from error
    if _METADATA not in arrays:
        raise CheckpointError(
            f"{source}: an archive without checkpoint metadata; {_EXPECTED}, or run "
            "`tirgn import-torch` on the weights of the released model"
        )
    try:
        metadata = parse_json(arrays.pop(_METADATA).tobytes().decode())
    except ValueError as error:
        raise CheckpointError(f"{source}: its metadata are no JSON ({error}); {_BROKEN}") from error
    if not isinstance(metadata, dict):
        raise CheckpointError(f"{source}: its metadata are {type(metadata).__name__}, not names and values; {_BROKEN}")
    return Checkpoint(arrays, cast(dict[str, object], metadata), source)


def checkpoint_path(path: str | Path) -> Path:
    """The file that `load_checkpoint(path)` reads."""
    path = Path(path)
    return path if os.path.isfile(path) and path.suffix != ".json" else _npz_path(path)


def checkpoint_sha256(path: str | Path) -> str:
    """The sha256 of the file that `load_checkpoint(path)` reads, in hexadecimal.

    **Raises:** CheckpointError when it cannot be read.
    """
    path = checkpoint_path(path)
    try:
        check_regular(path)
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        raise CheckpointError(_unreadable(path, error)) from error


def _npz_path(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix == ".npz" or not path.name:
        return path
    return path.with_name(path.name.removesuffix(".json") + ".npz")


def _pack(target: Path, place: Path, arrays: Mapping[str, object], metadata: str) -> None:
    """Write the npz of `target` to the temporary path `place`."""
    embedded = np.frombuffer(metadata.encode(), np.uint8)
    with zipfile.ZipFile(place, "w", zipfile.ZIP_STORED) as archive:
        for name, array in [*arrays.items(), (_METADATA, embedded)]:
            array = array if isinstance(array, Blocks) else np.asarray(array)
            if array.dtype.kind not in _KINDS:
                raise CheckpointError(f"{target}: array {name!r} has type {array.dtype}; store numbers such as float32")
            if name == _METADATA and array is not embedded:
                raise CheckpointError(f"{target}: the array name {name!r} is reserved; choose another name")
            # ZipInfo has a fixed date, so that equal contents give equal bytes.
            # The size of a member is unknown until it is written, and without zip64 it could not exceed 2 GiB.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                if not isinstance(array, Blocks):
                    np.lib.format.write_array(member, array, allow_pickle=False)
                    continue
                described = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape}
                np.lib.format.write_array_header_1_0(member, described)
                for block in array:
                    member.write(np.ascontiguousarray(block).data)


def _read_verified(source: Path, read: Callable[[Path], bytes | memoryview]) -> bytes | memoryview:
    """The bytes of an npz, compared with the sha256 in the JSON beside it, where there is one."""
    side, content = source.with_suffix(".json"), None
    while True:
        before = content
        try:
            check_regular(source)
            content = read(source)
        except (OSError, ValueError) as error:
            raise CheckpointError(_unreadable(source, error)) from error
        try:
            check_regular(side)
            # It holds the metadata of the npz, indented, which is at most a few times longer.
            if side.stat().st_size > 8 * len(content) + 2**20:
                raise ValueError("longer than the checkpoint")
            expected = parse_json(side.read_bytes())["sha256"]
        except FileNotFoundError:
            return content
        except (OSError, ValueError, KeyError, TypeError):
            # The npz alone is enough, so a damaged JSON costs a warning and no more.
            warnings.warn(f"{side}: holds no sha256; {source.name} was not verified", DataWarning, stacklevel=3)
            return content
        if hashlib.sha256(content).hexdigest() == expected:
            return content
        # Another process may have replaced both files between the two reads: read again until nothing changes.
        if content == before:
            raise CheckpointError(
                f"{source}: its sha256 is not the one in {side.name}, one of them was changed or cut short; use "
                f"another checkpoint, or remove {side.name} to load it unverified"
            )


def _unreadable(source: Path, error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        known = [file.name for file in source.parent.glob("*.npz")] if source.parent.is_dir() else []
        return f"{source}: does not exist{nearest(source.name, known)}; run `tirgn train` first"
    reason = error.strerror if isinstance(error, OSError) else error
    return f"{source}: cannot be read ({reason}); {_EXPECTED}"
