"""What `tirgn eval`, `baseline` and `compare` wrote with --json, as runs that a page can show."""

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tirgn_eqx.checkpoint.files import checkpoint_path
from tirgn_eqx.errors import CheckpointError
from tirgn_eqx.report.documents import (
    CheckpointSummary,
    ComparedModel,
    ComparisonDocument,
    ComparisonsDocument,
    EvaluationDocument,
    RankMetrics,
    SnapshotMetrics,
    check_document,
)
from tirgn_eqx.report.measure import Measurements, StratumMetrics, describe_setting, from_evaluation
from tirgn_eqx.report.runs import BEST, TrainingRun, distinct_names, read_run
from tirgn_eqx.storage.untrusted import check_regular, parse_json

MAX_BYTES = 64 << 20
_EXPECTED = "give a --model-dir, a checkpoint, or what `tirgn eval`, `baseline` or `compare` print with --json"


@dataclass(frozen=True)
class RunComparison:
    """A comparison document, with the names of its two runs on the page."""

    first: str
    second: str
    document: ComparisonDocument


def read_documents(paths: Sequence[str | Path]) -> tuple[list[TrainingRun], list[RunComparison]]:
    """What is at all of `paths`, in their order, each run under a name of its own.

    A model whose metrics several documents hold is one run.

    **Raises:** CheckpointError as `read_document`.
    """
    runs: list[TrainingRun] = []
    pairs: list[tuple[RunComparison, int, int]] = []
    for path in paths:
        found, comparisons = read_document(path)
        places = {}
        for run in found:
            known = (number for number, other in enumerate(runs) if _same_model(run, other))
            # Numbers, because names are made distinct only when all runs are known.
            places[run.name] = next(known, len(runs))
            runs += [run] if places[run.name] == len(runs) else []
        pairs += [(one, places[one.first], places[one.second]) for one in comparisons]
    names = distinct_names(runs)
    named = [dataclasses.replace(run, name=name) for run, name in zip(runs, names)]
    return named, [dataclasses.replace(one, first=names[a], second=names[b]) for one, a, b in pairs]


def _same_model(one: TrainingRun, other: TrainingRun) -> bool:
    """Whether two documents say the same of the same model."""
    if one.checkpoint is not None or one.measurements is None:
        return False
    return (one.name, one.metadata, one.measurements) == (other.name, other.metadata, other.measurements)


def read_document(path: str | Path) -> tuple[list[TrainingRun], list[RunComparison]]:
    """What is at `path`: one training, one evaluation, or comparisons and the evaluations of their models.

    **Raises:** CheckpointError where it is none of these, or a document of a wrong form.
    """
    path = Path(path)
    # The .json beside a checkpoint stands for the checkpoint.
    if path.suffix != ".json" or not path.is_file() or checkpoint_path(path).is_file():
        return [read_run(path)], []
    try:
        check_regular(path)
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"longer than {MAX_BYTES >> 20} MiB")
        content = path.read_bytes()
        found = parse_json(content)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON ({error}); {_EXPECTED}") from error
    if not isinstance(found, dict) or not found.keys() & {"entity", "models", "comparisons"}:
        raise CheckpointError(f"{path}: holds no metrics of a model; {_EXPECTED}")
    if "entity" in found:
        # From the bytes again: a strict model takes a list for a tuple in JSON only, not in parsed values.
        evaluation = check_document(EvaluationDocument, content, path, _EXPECTED)
        return [_run(path.stem, path, evaluation, evaluation, from_evaluation(evaluation))], []
    if "comparisons" in found:
        documents = check_document(ComparisonsDocument, content, path, _EXPECTED).comparisons
    else:
        documents = (check_document(ComparisonDocument, content, path, _EXPECTED),)
    # All of them together: one comparison alone does not show that another names a model by a folder of the same name.
    names = _short_names([model.name for document in documents for model in document.models])
    runs, comparisons = {}, []
    for document in documents:
        first, second = (_compared_run(path, document, side, names) for side in (0, 1))
        runs |= {run.name: run for run in (first, second)}
        comparisons.append(RunComparison(first.name, second.name, document))
    return list(runs.values()), comparisons


def _short_names(names: Sequence[str]) -> dict[str, str]:
    """Checkpoints by the names of their folders, as trainings are, unless two would get the same name."""
    short = {name: Path(name).parent.name if Path(name).name == BEST else name for name in names}
    return short if len(set(short.values())) == len(short) and all(short.values()) else {name: name for name in names}


def _compared_run(path: Path, document: ComparisonDocument, side: int, names: dict[str, str]) -> TrainingRun:
    """One of the two models of a comparison."""
    model = document.models[side]

    def rows(kind: str) -> tuple[StratumMetrics, ...]:
        # A stratum without queries has no metrics.
        known = [row for row in document.strata.get(kind, ()) if row.points]
        return tuple(StratumMetrics(row.name, row.queries, row.share, RankMetrics(mrr=row.mrr[side])) for row in known)

    # Fifteen digits are below 2**53, the limit of a time here.
    times = [row for row in rows("snapshot") if re.fullmatch(r"-?\d{1,15}", row.name)]
    measurements = Measurements(
        split=document.split,
        setting=describe_setting(model.setting, document.filter),
        metrics={"entity": model.entity} | {row.name: row.metrics for row in rows("direction")},
        calibration=model.calibration,
        strata=rows("recurrence"),
        relations=rows("relation"),
        snapshots=tuple(SnapshotMetrics(time=int(row.name), queries=row.queries, mrr=row.metrics.mrr) for row in times),
        left_out=document.dataset.left_out,
    )
    return _run(names[model.name], path, document, model, measurements)


def _run(
    name: str,
    path: Path,
    document: EvaluationDocument | ComparisonDocument,
    model: EvaluationDocument | ComparedModel,
    measurements: Measurements,
) -> TrainingRun:
    known = {"model_type": model.model_type, "versions": model.versions, "seed": model.seed}
    missing = [f"{path.name} holds metrics only: no settings, learning curves or forecasts"]
    if model.checksum_matches is False:
        missing.append("the model was trained on other facts than these")
    metadata = CheckpointSummary(data=document.dataset, **known)
    return TrainingRun(name, path, None, metadata, {}, None, False, tuple(missing), measurements)
