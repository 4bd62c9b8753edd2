"""What files say, held to what a page can show: names and values, numbers of a usual size, texts."""

import math
from collections.abc import Mapping
from typing import Any

_FIGURES = ("mrr", "hits_at_1", "hits_at_3", "hits_at_10", "nll")
_LARGEST = 2**53  # whole numbers up to here are exact as floats


def mapping(value: Any) -> dict[str, Any]:
    """`value` where it is names and values, else nothing."""
    return value if isinstance(value, dict) and all(isinstance(key, str) for key in value) else {}


def rows(value: Any) -> list[dict[str, Any]]:
    """The names and values in the list `value`; what is none is left out."""
    return [row for row in value if mapping(row)] if isinstance(value, list) else []


def whole(value: Any) -> int | None:
    """`value` where it is a whole number of a usual size, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST else None


def figure(value: Any) -> float | None:
    """`value` as a finite number, else None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    found = whole(value)
    return None if found is None else float(found)


def word(value: Any, otherwise: str = "?") -> str:
    """`value` where it is a text, else `otherwise`."""
    return value if isinstance(value, str) else otherwise


def figures(value: Any) -> dict[str, float]:
    """MRR, Hits and NLL in `value`, those that are there."""
    found = mapping(value)
    return {name: known for name in _FIGURES if (known := figure(found.get(name))) is not None}


def described_data(value: Any) -> dict[str, Any]:
    """Name, checksum, counts and source of data, those that are there."""
    found = mapping(value)
    out: dict[str, Any] = {key: text for key in ("name", "sha256") if isinstance(text := found.get(key), str)}
    counts = {key: whole(found.get(key)) for key in ("facts", "entities", "relations", "snapshots")}
    out |= {key: count for key, count in counts.items() if count is not None}
    return out | {"provenance": mapping(found.get("provenance"))}


def described(found: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint says of itself, each part of the kind that the page expects, or left out."""
    out = {key: value for key, value in found.items() if isinstance(value, str)}
    out |= {key: mapping(found.get(key)) for key in ("config", "versions", "calibration")}
    out["data"] = described_data(found.get("data"))
    metrics = mapping(found.get("metrics"))
    out["metrics"] = {"epoch": whole(metrics.get("epoch")), "validation": figures(metrics.get("validation"))}
    return out


def left_out(dataset: Any) -> tuple[str, ...]:
    """What to say of the facts that were left out of an evaluation for names that the model does not know."""
    counts = [(split, whole(count)) for split, count in mapping(mapping(dataset).get("left_out")).items()]
    told = [f"{count:,} of {word(split)}" for split, count in counts if count]
    return (f"facts left out for names that the model does not know: {', '.join(told)}",) if told else ()
