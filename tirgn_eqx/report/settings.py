"""The settings of the runs, beside each other and beside the preset that each is nearest to."""

from collections.abc import Sequence
from typing import Any

from tirgn_eqx.config import PRESETS, RECIPES, TiRGNTrainingConfig
from tirgn_eqx.report.html import LONGEST_NOTE, filter_for, table, text
from tirgn_eqx.report.runs import Run

OWN = ("logdir", "seed")  # settings of a run, not of a way to train


def settings(runs: Sequence[Run], names: Sequence[str]) -> str:
    """Every setting; those that differ between the runs, or from the nearest preset, stand out."""
    known = [(run, name) for run, name in zip(runs, names) if run.config]
    if not known:
        return ""
    near = [nearest_preset(run.config) for run, _ in known]
    keys = [key for key in TiRGNTrainingConfig().to_dict() if any(key in run.config for run, _ in known)]
    keys += sorted({key for run, _ in known for key in run.config} - set(keys))
    rows, classes = [], {}
    for place, key in enumerate(keys):
        values = [run.config.get(key) for run, _ in known]
        said = ["between the runs"] if any(value != values[0] for value in values) else []
        for (_, name), value, (preset_name, preset) in zip(known, values, near):
            if key not in OWN and (key not in preset or value != preset[key]):
                of = preset_name if len(known) == 1 else f"{name}: {preset_name}"
                said.append(f"{of} has {_setting(preset.get(key))}")
        if said:
            classes[place] = "differs"
        rows.append([text(key), *(text(_setting(value)) for value in values), text("; ".join(said), LONGEST_NOTE)])
    columns = [("setting", False), *((name, False) for _, name in known), ("differs", False)]
    presets = ", ".join(
        preset_name if len(known) == 1 else f"{name}: {preset_name}" for (_, name), (preset_name, _) in zip(known, near)
    )
    told = f"All settings, beside the nearest preset ({presets})."
    filled = table(columns, rows, caption=told, name="all-settings", sortable=True, classes=classes)
    return filter_for("all-settings", "loss, epochs, ...", "only those that differ") + filled


def nearest_preset(config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The preset, with a recipe where that is nearer, or else the defaults, from which the fewest settings differ."""
    model = config.get("model")
    ways = {"the defaults": {}}
    for name, one in PRESETS.items():
        recipes = {} if one.get("model") == "evidence" else RECIPES  # which evidence has none of
        ways |= {name: one} | {f"{name}, {recipe}": one | more for recipe, more in recipes.items() if more}
    found = {name: TiRGNTrainingConfig(**way).to_dict() for name, way in ways.items()}
    alike = [name for name, one in found.items() if one["model"] == model] or list(found)
    far = lambda one: sum(key not in config or config[key] != one[key] for key in one if key not in OWN)
    name = min(alike, key=lambda name: far(found[name]))
    return name, found[name]


def _setting(value: Any) -> str:
    return "–" if value is None else "yes" if value is True else "no" if value is False else str(value)
