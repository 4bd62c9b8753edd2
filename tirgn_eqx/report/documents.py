"""What `tirgn eval`, `baseline` and `compare` wrote with --json, as runs that a page can show."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tirgn_eqx.checkpoint.files import checkpoint_path
from tirgn_eqx.errors import CheckpointError
from tirgn_eqx.report.reading import described, described_data, figure, figures, left_out, mapping, rows, whole, word
from tirgn_eqx.report.runs import BEST, Run, check_names, read_run
from tirgn_eqx.storage.untrusted import check_regular, parse_json

MOST_BYTES = 64 << 20
_SCORES = ("entity", "entity_raw", "object", "subject", "relation", "relation_raw")
_ROW = ("kind", "name", "queries", "share")  # what a row says whichever models are compared
_EXPECTED = "give a --model-dir, a checkpoint, or what `tirgn eval`, `baseline` or `compare` print with --json"


@dataclass(frozen=True)
class Comparison:
    """Two models on the same questions: `difference` by figure, in points, and `parts` by kind of question, each a row
    with `kind`, `name`, `questions`, `mrr` (of both), `difference` and `interval`."""

    first: str
    second: str
    split: str
    confidence: float
    difference: dict[str, dict[str, Any]]
    parts: tuple[dict[str, Any], ...]


def read_all(paths: Sequence[str | Path]) -> tuple[list[Run], list[Comparison]]:
    """What is at all of `paths`, in their order, each run under a name of its own. A model that several documents give
    the same figures of is one run.

    **Raises:** CheckpointError as `read_runs`.
    """
    runs: list[Run] = []
    pairs: list[tuple[Comparison, int, int]] = []
    for path in paths:
        some, comparisons = read_runs(path)
        place = {}
        for run in some:
            known = (number for number, other in enumerate(runs) if _same(run, other))
            place[run.name] = number = next(known, len(runs))
            runs += [run] if number == len(runs) else []
        pairs += [(one, place[one.first], place[one.second]) for one in comparisons]
    names = check_names(runs)
    named = [dataclasses.replace(run, name=name) for run, name in zip(runs, names)]
    return named, [dataclasses.replace(one, first=names[a], second=names[b]) for one, a, b in pairs]


def _same(one: Run, other: Run) -> bool:
    """Whether two documents tell the same of the same model."""
    figures_alone = one.checkpoint is None and bool(one.measured)
    return figures_alone and (one.name, one.described, one.measured) == (other.name, other.described, other.measured)


def read_runs(path: str | Path) -> tuple[list[Run], list[Comparison]]:
    """What is at `path`: one training, one evaluation, or comparisons with an evaluation of each of their models.

    **Raises:** CheckpointError where it is none of these.
    """
    given = Path(path)
    if given.suffix != ".json" or not given.is_file() or checkpoint_path(given).is_file():
        return [read_run(given)], []
    try:
        check_regular(given)
        if given.stat().st_size > MOST_BYTES:
            raise ValueError(f"longer than {MOST_BYTES >> 20} MiB")
        found = mapping(parse_json(given.read_bytes()))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{given}: cannot be read as JSON ({error}); {_EXPECTED}") from error
    if figures(found.get("entity")) and mapping(found.get("dataset")):
        return [_evaluation(given, found)], []
    comparisons = [one for one in rows(found.get("comparisons")) or [found] if len(rows(one.get("models"))) == 2]
    # One comparison alone would not tell two models apart that others name by the same folder.
    called = _called([word(model.get("name")) for one in comparisons for model in rows(one["models"])])
    made = [_comparison(given, one, called) for one in comparisons]
    if not made:
        raise CheckpointError(f"{given}: holds no figures of a model; {_EXPECTED}")
    runs = {run.name: run for both, _ in made for run in both}
    return list(runs.values()), [one for _, one in made]


def _evaluation(path: Path, found: dict[str, Any]) -> Run:
    measured = _asked(found) | {name: known for name in _SCORES if (known := figures(found.get(name)))}
    measured["snapshots"] = [
        {"time": time, "when": time, "queries": max(0, whole(row.get("queries")) or 0), "mrr": figure(row.get("mrr"))}
        for row in rows(found.get("snapshots"))
        if (time := whole(row.get("time"))) is not None
    ]
    return _run(path.stem, path, found, measured | _calibration(found))


def _comparison(path: Path, found: dict[str, Any], called: dict[str, str]) -> tuple[list[Run], Comparison]:
    """The two models of a comparison, each with its figures, and what lies between them."""
    strata = mapping(found.get("strata"))
    parts = [
        part
        for kind in ("recurrence", "direction", "relation", "snapshot")
        for row in rows(strata.get(kind))
        if (part := _part(kind, row))
    ]
    runs = []
    for side, model in enumerate(rows(found["models"])):
        row = lambda part: {**{key: part[key] for key in _ROW}, "mrr": part["mrr"][side]}  # noqa: B023
        of = lambda kind: [row(part) for part in parts if part["kind"] == kind]  # noqa: B023
        measured = _asked(found | {"setting": model.get("setting")}) | _calibration(model)
        measured |= {"entity": figures(model.get("entity")), "strata": of("recurrence"), "relations": of("relation")}
        measured |= {part["name"]: {"mrr": part["mrr"]} for part in of("direction")}
        measured["snapshots"] = [
            {"time": int(part["name"]), "when": int(part["name"]), "queries": part["queries"], "mrr": part["mrr"]}
            for part in of("snapshot")
            if part["name"].lstrip("-").isdecimal() and len(part["name"]) < 16
        ]
        runs.append(_run(called[word(model.get("name"))], path, found | model, measured))
    difference = mapping(found.get("difference"))
    known = {name: change for name in difference if (change := _change(difference[name]))}
    first, second = (run.name for run in runs)
    confidence = figure(found.get("confidence")) or 0.95
    return runs, Comparison(first, second, word(found.get("split")), confidence, known, tuple(parts))


def _called(names: list[str]) -> dict[str, str]:
    """Checkpoints by their folders, as trainings are called, unless that makes any of them the same."""
    short = {name: Path(name).parent.name if Path(name).name == BEST else name for name in names}
    return short if len(set(short.values())) == len(short) and all(short.values()) else {name: name for name in names}


def _asked(found: dict[str, Any]) -> dict[str, Any]:
    asked = {key: word(found.get(key)) for key in ("split", "setting")}
    return asked | {"strata": [], "relations": [], "relations_left_out": None, "snapshots": [], "samples": []}


def _calibration(found: dict[str, Any]) -> dict[str, Any]:
    known = mapping(found.get("calibration"))
    shares = ("from", "to", "probability", "right")
    bins = []
    for row in rows(known.get("reliability")):
        inside = {key: share for key in shares if (share := figure(row.get(key))) is not None and 0 <= share <= 1}
        if len(inside) == len(shares) and (queries := whole(row.get("queries"))) is not None and queries >= 0:
            bins.append(inside | {"queries": queries})
    errors = {key: figure(known.get(key)) for key in ("brier", "ece")}
    return {"reliability": errors | {"reliability": bins}} if bins and None not in errors.values() else {}


def _part(kind: str, row: dict[str, Any]) -> dict[str, Any]:
    mrr, interval = _pair(row.get("mrr")), _pair(row.get("interval"))
    numbers = {key: figure(row.get(key)) for key in ("queries", "share", "difference")}
    if mrr is None or interval is None or None in numbers.values():
        return {}
    known = {"kind": kind, "name": word(row.get("name")), "mrr": mrr, "interval": interval}
    return known | numbers | {"queries": max(0, int(numbers["queries"] or 0))}


def _change(value: Any) -> dict[str, Any]:
    row = mapping(value)
    points, interval = figure(row.get("points")), _pair(row.get("interval_points"))
    return {} if points is None or interval is None else {"points": points, "interval": interval}


def _pair(value: Any) -> tuple[float, float] | None:
    if not (isinstance(value, list) and len(value) == 2):
        return None
    low, high = map(figure, value)
    return None if low is None or high is None else (low, high)


def _run(name: str, path: Path, found: dict[str, Any], measured: dict[str, Any]) -> Run:
    said = described({key: found.get(key) for key in ("model_type", "versions")})
    said |= {"data": described_data(found.get("dataset")), "seed": whole(found.get("seed"))}
    missing = [f"{path.name} holds figures alone: no settings, no learning curves and no forecasts"]
    if found.get("checksum_matches") is False:
        missing.append("these facts were not those that the model was trained on")
    missing += left_out(found.get("dataset"))
    return Run(name, path, None, said, {}, {}, False, tuple(missing), measured)


def same_data(runs: Sequence[Run]) -> bool:
    """Whether all runs are of the same facts, as far as they say of which they are."""
    return len({run.data.get("sha256") for run in runs if run.data.get("sha256")}) <= 1
