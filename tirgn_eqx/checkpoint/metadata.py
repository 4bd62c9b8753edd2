"""What a checkpoint says of its model beside the weights, looked through before anything is built by it."""

from pathlib import Path
from typing import Any

import numpy as np

from tirgn_eqx.config import TrainingConfig, flatten
from tirgn_eqx.data.graph import StaticGraph
from tirgn_eqx.data.readers.integer_text import TIME_MAX
from tirgn_eqx.errors import CheckpointError, shown
from tirgn_eqx.storage.untrusted import told

# Settings that are sizes of arrays, and how far they may go beyond the numbers that a file holds.
_SIZES = ("embedding_dim", "num_layers", "conv_channels", "conv_kernel", "evidence_heads", "evidence_hidden")
_SPARE = 1000
_NUMBER, _TEXT, _WHOLE = (int, float), (str,), (int,)
_PROVENANCE = {name: _TEXT for name in ("kind", "path", "name", "granularity", "time_format", "columns")}
_PROVENANCE |= {"num_days": _WHOLE, "max_events": _WHOLE}


def check_described(described: dict[str, Any], path: Path) -> None:
    """What a checkpoint says beside its arrays and settings is of the kind that others rely on.

    **Raises:** CheckpointError that names what is not.
    """
    unusable = lambda what: CheckpointError(f"{path}: says nothing usable about its {what}; train again")
    for kind in ("entities", "relations"):
        number, names = described.get(f"num_{kind}"), described.get(kind)
        if number is None or not _is(number, _WHOLE) or not 0 < number <= np.iinfo(np.int32).max // 2:
            raise unusable(f"{kind} (num_{kind} = {shown(number)})")
        if names is not None and not (_are(names, _TEXT) and len(names) == number):
            raise unusable(f"{kind}: expected {number:,} names")
    check_data(described.get("data") or {}, path)
    calibration = described.get("calibration") or {}
    temperature = calibration.get("temperature", {}) if isinstance(calibration, dict) else None
    if not (isinstance(temperature, dict) and _are(list(temperature.values()), _NUMBER)):
        raise unusable("calibration")
    if not all(0 < value < np.inf for value in temperature.values()):
        raise unusable(f"calibration ({shown(temperature)})")


def check_data(data: Any, path: Path) -> None:
    """What a checkpoint or a training state says of its data, their clock included, is of the kind that others rely on.

    **Raises:** CheckpointError that names what is not.
    """
    unusable = lambda what: CheckpointError(f"{path}: says nothing usable about its data{what}; train again")
    provenance = data.get("provenance") if isinstance(data, dict) else 0
    provenance = {} if provenance is None else provenance
    if not (isinstance(data, dict) and isinstance(provenance, dict) and _is(data.get("sha256", ""), _TEXT)):
        raise unusable("")
    for key, value in provenance.items():
        if not _is(value, _PROVENANCE.get(key, (bool, int, float))) and not (key == "num_days" and value is None):
            raise unusable(f" ({key} = {shown(value)})")
    for key in ("time_interval", "clock_origin", "first_time", "last_time"):
        low, high = (1, 2 * TIME_MAX) if key == "time_interval" else (-TIME_MAX, TIME_MAX)
        value = data.get(key, low)
        if not _is(value, _WHOLE) or not low <= value <= high:
            raise unusable(f" ({key} = {shown(value)})")


def _is(value: Any, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


def _are(values: Any, kinds: tuple[type, ...]) -> bool:
    return isinstance(values, list) and all(_is(value, kinds) for value in values)


def check_sizes(
    arrays: dict[str, np.ndarray],
    path: Path,
    sizes: dict[str, int],
    config: TrainingConfig,
) -> None:
    """No size that a model is built by goes beyond what the file holds: nothing is built for what it only claims.

    **Raises:** CheckpointError that names the size.
    """
    numbers = sum(array.size for array in arrays.values())
    # Of a mixture, either part has sizes.
    given = [(name.rpartition(".")[2], value) for name, value in flatten(config.to_dict())]
    for name, value in given:
        if name in _SIZES:
            sizes[name] = max(value, sizes.get(name, 0))
    for name, size in sizes.items():
        if size > numbers + _SPARE:
            raise CheckpointError(
                f"{path}: says {name} = {size:,}, but holds {numbers:,} numbers in all; this is not the model its "
                "config describes; give another, or train again"
            )


def static_graph(described: Any, arrays: dict[str, np.ndarray], path: Path, entities: int) -> StaticGraph | None:
    """The static graph that a checkpoint describes. **Raises:** CheckpointError."""
    if described is None:
        return None
    try:
        # Of a structure with evidence, each part may hold it, and both hold the same.
        last = "static_edges.entity"
        prefix = next((name.removesuffix(last) for name in sorted(arrays) if name.endswith(last)), "")
        bounds, num_words = described["bounds"], described["num_words"]
        entity, word = arrays[f"{prefix}static_edges.entity"], arrays[f"{prefix}static_edges.word"]
        if not (_are(bounds, _WHOLE) and _is(num_words, _WHOLE) and {entity.dtype.kind, word.dtype.kind} == {"i"}):
            raise ValueError("no whole numbers")
        if not (bounds and bounds[0] == 0 and bounds == sorted(bounds) and entity.ndim == word.ndim == 1):
            raise ValueError("bounds are out of order")
        if not bounds[-1] == len(entity) == len(word):
            raise ValueError("edge counts differ")
        for name, values, limit in (("entity", entity, entities), ("word", word, num_words)):
            if len(values) and not 0 <= values.min() <= values.max() < min(limit, np.iinfo(np.int32).max):
                raise ValueError(f"an edge goes to no {name} that there is")
        if num_words > _SPARE + sum(array.size for array in arrays.values()):
            raise ValueError(f"{num_words:,} words, more than the file holds numbers")
        relation = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
        return StaticGraph(entity, relation, word, len(bounds) - 1, num_words)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: its static graph cannot be rebuilt ({told(error)}); train again") from error
