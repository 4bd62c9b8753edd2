"""The sections of a page about how runs were trained, as their templates show them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tirgn_eqx.config import FAMILIES, all_settings, flatten, published_configs
from tirgn_eqx.report.formats import METRICS, MISSING, format_number
from tirgn_eqx.report.plots import Plot, Point, Series, draw_lines
from tirgn_eqx.report.runs import Runs, TrainingRun

MAX_CELLS = 1200  # of a table below a plot
_PER_RUN = {"logdir", "tracker", "seed"}  # settings that differ from run to run, whatever the preset


def group_by_data(runs: Runs) -> list[list[TrainingRun]]:
    """The runs in groups of the same data, in the order of the first of each."""
    groups: dict[str, list[TrainingRun]] = {}
    for run in runs:
        # As text, because the dict of the provenance cannot be part of a key.
        groups.setdefault(repr((run.data.sha256, run.data.provenance)), []).append(run)
    return list(groups.values())


def _plot(
    title: str, y_title: str, keys: Mapping[str, str], runs: Runs, scale: int = 1, zero: bool = False
) -> Plot | None:
    """Logged values by epoch: a line a run, or for a single run a line for each of `keys`; None without values.

    **Arguments:** `keys`: names of logged values, and what they are called; `scale`: a factor of the values; `zero`:
    begin the y axis at 0.
    """
    single = len(runs) == 1
    series: list[Series] = []
    marks: list[tuple[int, int, str]] = []
    for style, run in enumerate(runs):
        # Several runs show the first of the values only, so that a line stands for a run.
        for number, (key, said) in enumerate(list(keys.items())[: None if single else 1]):
            curve = run.curves.get(key, ())
            points: list[Point] = [(x, None if y is None else scale * y) for x, y in curve if x > 0]
            if points:
                series.append(Series(said if single else run.name, points, number if single else style))
        # Only plots of validation metrics show which epoch was kept, since these decided it.
        if run.best_epoch and run.curves and next(iter(keys)).startswith("eval/"):
            marks.append((run.best_epoch, style, "kept" if single else f"{run.name[:20]}: kept"))
    picture = draw_lines(title, "epoch", y_title, series, marks=marks, zero=zero)
    if not picture:
        return None
    note = ""
    if marks and "eval/mrr" in keys:
        ended = "; ".join(run.outcome if single else f"{run.name}, {run.outcome}" for run in runs if run.outcome)
        note = "Vertical dotted lines: the epoch whose checkpoint was kept."
        note += f" How the training ended: {ended}." if ended else ""
    epochs = sorted({int(x) for one in series for x, _ in one.points})
    # A row has a cell for the epoch and one for each line.
    step = math.ceil(len(epochs) * (1 + len(series)) / MAX_CELLS)
    chosen = {*epochs[::step], *epochs[-1:], *(epoch for epoch, _, _ in marks)}.intersection(epochs)
    values = [dict(one.points) for one in series]
    rows = [(epoch, [found.get(epoch) for found in values]) for epoch in sorted(chosen)]
    cut = f"Every {step}th of {len(epochs):,} epochs, the last, and those kept." if step > 1 else ""
    return Plot(title, picture, rows, cut or title, series, note)


def plot_learning(runs: Runs) -> list[Plot]:
    """Loss, validation metrics and learning rate by epoch; with several runs, each loss and metric has its own plot."""
    losses = {"train/loss": "all", "train/loss_entity": "entity", "train/loss_relation": "relation"}
    if any(value for run in runs for _, value in run.curves.get("train/loss_static", ())):
        losses["train/loss_static"] = "static graph"
    metrics = {f"eval/{key}": said for key, said in METRICS.items()}
    plots = [_plot("Loss in training", "loss, nats", losses, runs)]
    if len(runs) == 1:
        plots.append(_plot("Validation", "percent", metrics, runs, 100))
    else:
        plots += [_plot(f"Validation {said}", "percent", {key: said}, runs, 100) for key, said in metrics.items()]
        parts = list(losses.items())[1:]
        plots += [_plot(f"Loss in training, {said}", "loss, nats", {key: said}, runs) for key, said in parts]
    plots.append(_plot("Validation NLL", "nats", {"eval/nll": "NLL"}, runs))
    plots.append(_plot("Learning rate", "learning rate", {"train/lr": "learning rate"}, runs, zero=True))
    return [plot for plot in plots if plot]


def plot_system(runs: Runs) -> list[Plot]:
    """Seconds and device memory of epochs."""
    plots = [
        _plot("Time of an epoch", "seconds", {"system/epoch_duration_s": "seconds"}, runs, zero=True),
        _plot("Device memory", "MB", {"system/vram_used_mb": "peak"}, runs, zero=True),
    ]
    return [plot for plot in plots if plot]


@dataclass(frozen=True)
class SettingsSection:
    """Every setting of the runs; `rows`: (name, a value for each run, in what it differs); `presets`: the nearest."""

    names: list[str]
    presets: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str], str]]


def compare_settings(runs: Runs) -> SettingsSection | None:
    """The settings of runs that have any, beside each other and beside the preset that each is nearest to."""
    runs = [run for run in runs if run.config]
    if not runs:
        return None
    configs = [dict(flatten(run.config)) for run in runs]
    presets = [find_nearest_preset(config) for config in configs]
    called = [name if len(runs) == 1 else f"{run.name}: {name}" for run, (name, _) in zip(runs, presets)]
    known = [key for key in ("family", *all_settings()) if any(key in config for config in configs)]
    others = sorted({key for config in configs for key in config} - set(known))
    rows = []
    for key in [*known, *others]:
        values = [config.get(key) for config in configs]
        # A run of another family, which has no such setting, does not differ in it.
        present = [config[key] for config in configs if key in config]
        differs = ["between the runs"] if any(value != present[0] for value in present) else []
        for name, value, config, (_, preset) in zip(called, values, configs, presets):
            if _is_shared(key) and key in config and (key not in preset or value != preset[key]):
                differs.append(f"{name} has {_format_setting(preset.get(key))}")
        rows.append((key, [_format_setting(value) for value in values], "; ".join(differs)))
    return SettingsSection([run.name for run in runs], called, rows)


def find_nearest_preset(config: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    """The name and the settings of the preset, with a recipe where that is nearer, or of the defaults, from which the
    fewest settings of `config` differ."""
    family = config.get("family")
    published = published_configs(family if isinstance(family, str) and family in FAMILIES else "tirgn")
    candidates = {name: dict(flatten(preset.to_dict())) for name, preset in published.items()}

    def distance(name: str) -> int:
        preset = candidates[name]
        return sum(_is_shared(key) and (key not in config or config[key] != preset[key]) for key in preset)

    name = min(candidates, key=distance)
    return name, candidates[name]


def _is_shared(key: str) -> bool:
    """Whether a setting says how to train, and not which run it is."""
    # The name of a setting in a part of a mixture begins with that of the part: `structure.seed`.
    return key.rpartition(".")[2] not in _PER_RUN


def _format_setting(value: object) -> str:
    return MISSING if value is None else format_number(value) if isinstance(value, bool) else str(value)
