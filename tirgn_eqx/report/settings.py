"""The settings of the runs, beside each other and beside the preset that each is nearest to."""

from collections.abc import Sequence
from typing import Any

from tirgn_eqx.config import FAMILIES, all_settings, flatten, published_configs
from tirgn_eqx.report.html import LONGEST_NOTE, filter_for, table, text
from tirgn_eqx.report.runs import Run

OWN = ("logdir", "seed")  # settings of a run, not of a way to train


def settings(runs: Sequence[Run], names: Sequence[str]) -> str:
    """Every setting; those that differ between the runs, or from the nearest preset, stand out."""
    known = [(dict(flatten(run.config)), name) for run, name in zip(runs, names) if run.config]
    if not known:
        return ""
    near = [nearest_preset(config) for config, _ in known]
    keys = [key for key in ("family", *all_settings()) if any(key in config for config, _ in known)]
    keys += sorted({key for config, _ in known for key in config} - set(keys))
    rows, classes = [], {}
    for place, key in enumerate(keys):
        values = [config.get(key) for config, _ in known]
        said = ["between the runs"] if any(value != values[0] for value in values) else []
        for (_, name), value, (preset_name, preset) in zip(known, values, near):
            if _own(key) and (key not in preset or value != preset[key]):
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
    family = config.get("family")
    ways = published_configs(family if family in FAMILIES else "tirgn").items()
    found = {name: dict(flatten(one.to_dict())) for name, one in ways}
    far = lambda one: sum(key not in config or config[key] != one[key] for key in one if _own(key))
    name = min(found, key=lambda name: far(found[name]))
    return name, found[name]


def _own(key: str) -> bool:
    """Whether a setting is one of a way to train, not of a single run."""
    return key.rpartition(".")[2] not in OWN


def _setting(value: Any) -> str:
    return "–" if value is None else "yes" if value is True else "no" if value is False else str(value)
