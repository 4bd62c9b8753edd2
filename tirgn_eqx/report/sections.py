"""The sections of a page, each from what is known of the runs; empty where nothing is."""

from collections.abc import Sequence
from typing import Any

from tirgn_eqx.config import TiRGNTrainingConfig
from tirgn_eqx.report.html import FIGURES, figure, filter_for, legend, number, table, text
from tirgn_eqx.report.plots import Series, lines
from tirgn_eqx.report.runs import Run

MOST_ROWS = 400  # of a table beside a plot
Named = Sequence[str]


def data(runs: Sequence[Run], names: Named) -> str:
    """What was learnt from: counts, source, checksum."""
    sources = [run.data.get("provenance") or {} for run in runs]
    more = [{key: value for key, value in one.items() if key not in ("kind", "path")} for one in sources]
    rows: dict[str, list[str]] = {"name": [text(run.data.get("name", "?")) for run in runs]}
    for key in ("facts", "entities", "relations", "snapshots"):
        rows[key] = [number(run.data.get(key)) for run in runs]
    rows["source"] = [
        text(" ".join(dict.fromkeys([str(one.get("kind", "?")), str(one.get("path", ""))]))) for one in sources
    ]
    rows["read with"] = [text(", ".join(f"{key} {value}" for key, value in one.items()) or "–") for one in more]
    rows["sha256"] = [text(str(run.data.get("sha256", "?"))[:16]) for run in runs]
    columns = [("what", False), *((name, False) for name in names)]
    told = "All facts, as they were when the training began."
    return table(columns, [[said, *cells] for said, cells in rows.items()], caption=told)


def _plot(
    title: str, y_title: str, keys: dict[str, str], runs: Sequence[Run], names: Named, scale: int = 1, **options: Any
) -> str:
    """A figure of logged values by epoch: a line a run, or for one run a line for each of `keys`."""
    single = len(runs) == 1
    series, marks = [], []
    for kind, (run, name) in enumerate(zip(runs, names)):
        for other, (key, said) in enumerate(keys.items()):
            if (curve := run.curves.get(key)) is None or (other and not single):
                continue
            points = [(x, None if y is None else scale * y) for x, y in curve.points if x > 0]
            look = other if single else kind
            series.append(Series(said if single else name, points, look))
        if run.best_epoch and key_is_validation(keys):
            marks.append((float(run.best_epoch), kind))
    shown = [one for one in series if one.points]
    picture = lines(title, "epoch", y_title, shown, marks=marks, **options)
    epochs = sorted({int(x) for one in shown for x, _ in one.points})
    values = [dict(one.points) for one in shown]
    rows = [[str(epoch), *(number(found.get(epoch)) for found in values)] for epoch in epochs[:MOST_ROWS]]
    cut = f"the first {MOST_ROWS} of {len(epochs)} epochs" if len(epochs) > MOST_ROWS else ""
    numbers = table([("epoch", True), *((one.name, True) for one in shown)], rows, caption=cut or title)
    note = "The upright dotted line is the epoch whose checkpoint was kept." if marks else ""
    return figure(title, picture, numbers, note, legend([(one.name, one.kind) for one in shown]))


def key_is_validation(keys: dict[str, str]) -> bool:
    """Whether a plot is of validation figures."""
    return next(iter(keys)).startswith("eval/")


def learning(runs: Sequence[Run], names: Named) -> str:
    """Learning curves with the epoch that was kept."""
    parts = {"train/loss": "all", "train/loss_entity": "entity", "train/loss_relation": "relation"}
    hits = {f"eval/{key}": said for key, said in FIGURES.items()}
    plots = [
        _plot("Loss in training", "loss, nats", parts, runs, names),
        _plot("Validation", "percent", hits if len(runs) == 1 else {"eval/mrr": "MRR"}, runs, names, 100),
        _plot("Validation NLL", "nats", {"eval/nll": "NLL"}, runs, names),
        _plot("Learning rate", "step size", {"train/lr": "learning rate"}, runs, names, zero=True),
    ]
    body = "".join(plots)
    return f'<div class="figures">{body}</div>' if body else ""


def system(runs: Sequence[Run], names: Named) -> str:
    """Seconds and device memory of epochs."""
    plots = [
        _plot("Time of an epoch", "seconds", {"system/epoch_duration_s": "seconds"}, runs, names, zero=True),
        _plot("Device memory", "MB", {"system/vram_used_mb": "peak"}, runs, names, zero=True),
    ]
    body = "".join(plots)
    return f'<div class="figures">{body}</div>' if body else ""


def settings(runs: Sequence[Run], names: Named) -> str:
    """Every setting; those that differ between the runs, or from the default, stand out."""
    default = TiRGNTrainingConfig().to_dict()
    keys = [key for key in default if any(key in run.config for run in runs)]
    keys += sorted({key for run in runs for key in run.config} - set(keys))
    rows, classes = [], {}
    for place, key in enumerate(keys):
        values = [run.config.get(key) for run in runs]
        different = any(value != values[0] for value in values)
        if different or (len(runs) == 1 and values[0] != default.get(key)):
            classes[place] = "differs"
        marked = "differs" if place in classes else ""
        rows.append([text(key), *(text(_setting(value)) for value in values), text(_setting(default.get(key))), marked])
    what = "between the runs" if len(runs) > 1 else "from the default"
    columns = [("setting", False), *((name, False) for name in names), ("default", False), (f"differs {what}", False)]
    filled = table(columns, rows, caption="All settings.", name="all-settings", sortable=True, classes=classes)
    return filter_for("all-settings", "differs, loss, ...") + filled if any(run.config for run in runs) else ""


def _setting(value: Any) -> str:
    return "–" if value is None else "yes" if value is True else "no" if value is False else str(value)
