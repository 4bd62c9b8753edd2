"""Strict JSON, without NaN and infinities, for logs and checkpoint metadata."""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path


def plain(value: object) -> object:
    """`value` in the types of JSON; it may contain scalars and arrays of NumPy or JAX, tuples, paths and dataclasses.

    NaN and infinities become None.

    **Raises:** TypeError for any other value.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    # Scalars and arrays of NumPy and JAX have `tolist`, so that neither must be imported here.
    tolist = getattr(value, "tolist", None)
    if callable(tolist):
        return plain(tolist())
    raise TypeError(f"{type(value).__name__} {value!r} cannot be written as JSON")


def to_json(value: object, indent: int | None = None) -> str:
    """`value` as strict JSON, see `plain`."""
    return json.dumps(plain(value), indent=indent, ensure_ascii=False, allow_nan=False)
