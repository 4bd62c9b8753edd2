"""The sections of a page, each from what is known of the runs; empty where nothing is."""

import math
from collections.abc import Sequence
from typing import Any

from tirgn_eqx.data.graph import SPLITS
from tirgn_eqx.report.html import FIGURES, figure, legend, number, percent, table, text
from tirgn_eqx.report.plots import Series, lines
from tirgn_eqx.report.runs import Run

MOST_CELLS = 1200  # of a table beside a plot
Named = Sequence[str]


def data(runs: Sequence[Run], names: Named) -> str:
    """What was learnt from: counts, source, checksum, and its splits where the data were read for the page; runs of
    the same data share a column."""
    groups: dict[str, list[int]] = {}
    for place, run in enumerate(runs):
        groups.setdefault(repr((run.data.get("sha256"), run.data.get("provenance"))), []).append(place)
    first = [runs[places[0]] for places in groups.values()]
    called = [", ".join(names[place] for place in places) for places in groups.values()]
    sources = [run.data.get("provenance") or {} for run in first]
    more = [{key: value for key, value in one.items() if key not in ("kind", "path")} for one in sources]
    rows: dict[str, list[str]] = {"name": [text(run.data.get("name", "?")) for run in first]}
    for key in ("facts", "entities", "relations", "snapshots"):
        rows[key] = [number(run.data.get(key)) for run in first]
    rows["source"] = [
        text(" ".join(dict.fromkeys([str(one.get("kind", "?")), str(one.get("path", ""))]))) for one in sources
    ]
    rows["read with"] = [text(", ".join(f"{key} {value}" for key, value in one.items()) or "–") for one in more]
    rows["sha256"] = [text(str(run.data.get("sha256", "?"))) for run in first]
    columns = [("what", False), *((name, False) for name in called)]
    told = "All facts, as they were when the training began."
    cards = {}
    for run, name in zip(runs, names):
        if card := run.measured.get("card"):
            cards.setdefault(card["sha256"], (name, card))
    splits = "".join(_splits(name if len(cards) > 1 else "", card) for name, card in cards.values())
    return table(columns, [[said, *cells] for said, cells in rows.items()], caption=told) + splits


def _splits(name: str, card: dict[str, Any]) -> str:
    """The splits of one graph, as counted when the page was made."""
    rows = []
    for split in SPLITS:
        ends, seen = card["spans"].get(split, ("–", "–")), card["answer_in_history"][split]
        unseen = card["unseen_entity_facts"].get(split)
        counts = [number(card[key][split]) for key in ("facts", "snapshots")]
        rows.append([split, *counts, *map(text, ends), percent(seen), number(unseen)])
    columns = [("split", False), ("facts", True), ("snapshots", True), ("first", True), ("last", True)]
    columns += [("answer seen before, %", True), ("facts of new entities", True)]
    counted = card["facts_per_snapshot"]
    told = f"Splits{f' of {name}' if name else ''}, counted in the data that were read for this page; a snapshot has "
    told += f"{counted['min']:,} to {counted['max']:,} facts, {counted['mean']:,.1f} on average."
    return table(columns, rows, caption=told)


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
        if run.best_epoch and run.curves and key_is_validation(keys):
            marks.append((run.best_epoch, kind, "kept" if single else f"{name[:20]}: kept"))
    shown = [one for one in series if one.points]
    picture = lines(title, "epoch", y_title, shown, marks=marks, **options)
    epochs = sorted({int(x) for one in shown for x, _ in one.points})
    values = [dict(one.points) for one in shown]
    step = math.ceil(len(epochs) * (1 + len(shown)) / MOST_CELLS)
    kept = {x for x, _, _ in marks}
    told = [x for place, x in enumerate(epochs) if place % step == 0 or x in kept or x == epochs[-1]]
    rows = [[str(epoch), *(number(found.get(epoch)) for found in values)] for epoch in told]
    cut = f"Every {step}th of {len(epochs):,} epochs, the last, and those kept." if step > 1 else ""
    numbers = table([("epoch", True), *((one.name, True) for one in shown)], rows, caption=cut or title)
    note = ""
    if marks and "eval/mrr" in keys:
        stopped = [run.ended if single else f"{name}, {run.ended}" for run, name in zip(runs, names) if run.ended]
        note = "Upright dotted lines: the epoch whose checkpoint was kept."
        note += f" How long it was trained: {'; '.join(stopped)}." if stopped else ""
    return figure(title, picture, numbers, note, legend([(one.name, one.kind) for one in shown]))


def key_is_validation(keys: dict[str, str]) -> bool:
    """Whether a plot is of validation figures."""
    return next(iter(keys)).startswith("eval/")


def learning(runs: Sequence[Run], names: Named) -> str:
    """Learning curves with the epoch that was kept; of several runs, each part has a plot of its own."""
    parts = {"train/loss": "all", "train/loss_entity": "entity", "train/loss_relation": "relation"}
    parts |= {"train/loss_static": "static graph"} if any(_above_zero(run, "train/loss_static") for run in runs) else {}
    hits = {f"eval/{key}": said for key, said in FIGURES.items()}
    if len(runs) == 1:
        plots = [
            _plot("Loss in training", "loss, nats", parts, runs, names),
            _plot("Validation", "percent", hits, runs, names, 100),
        ]
    else:
        first, *others = parts.items()
        plots = [_plot("Loss in training", "loss, nats", dict([first]), runs, names)]
        plots += [_plot(f"Validation {said}", "percent", {key: said}, runs, names, 100) for key, said in hits.items()]
        plots += [_plot(f"Loss in training, {said}", "loss, nats", {key: said}, runs, names) for key, said in others]
    plots += [
        _plot("Validation NLL", "nats", {"eval/nll": "NLL"}, runs, names),
        _plot("Learning rate", "step size", {"train/lr": "learning rate"}, runs, names, zero=True),
    ]
    body = "".join(plots)
    return f'<div class="figures">{body}</div>' if body else ""


def _above_zero(run: Run, key: str) -> bool:
    return key in run.curves and any(value for _, value in run.curves[key].points)


def system(runs: Sequence[Run], names: Named) -> str:
    """Seconds and device memory of epochs."""
    plots = [
        _plot("Time of an epoch", "seconds", {"system/epoch_duration_s": "seconds"}, runs, names, zero=True),
        _plot("Device memory", "MB", {"system/vram_used_mb": "peak"}, runs, names, zero=True),
    ]
    body = "".join(plots)
    if not body:
        return ""
    told = "" if plots[1] else "<p class='note'>No device memory was logged: on a CPU, none is told.</p>"
    return f'<div class="figures">{body}</div>{told}'
