"""The help of `tirgn train`, which shows the settings of the model family that its other words choose."""

import copy
from collections.abc import Sequence
from typing import Any, TypeAlias

import typer
from typer.core import TyperCommand

from tirgn_cli import options, values
from tirgn_eqx.config import (
    EvidenceTrainingConfig,
    GivenSettings,
    MixtureTrainingConfig,
    TiRGNTrainingConfig,
    TrainingConfig,
    all_settings,
    settings_of,
)
from tirgn_eqx.errors import ConfigError

# Classes of click, or of the copy of it that later versions of typer hold, so that no import serves both.
ClickContext: TypeAlias = Any
ClickFormatter: TypeAlias = Any
ClickParameter: TypeAlias = Any


class TrainCommand(TyperCommand):
    """`tirgn train`, whose help shows the settings of the model family that the other words choose."""

    context_class = typer.Context  # what `train` says that it takes
    _words, _helping = f"{__name__}.words", f"{__name__}.helping"  # keys of the context

    def parse_args(self, ctx: ClickContext, args: list[str]) -> list[str]:
        ctx.meta[self._words] = list(args)
        return super().parse_args(ctx, args)

    def format_help(self, ctx: ClickContext, formatter: ClickFormatter) -> None:
        ctx.meta[self._helping] = True
        super().format_help(ctx, formatter)

    def get_params(self, ctx: ClickContext) -> list[ClickParameter]:
        params = super().get_params(ctx)
        return family_params(params, ctx.meta[self._words]) if ctx.meta.get(self._helping) else params


def family_params(params: list[ClickParameter], words: Sequence[str]) -> list[ClickParameter]:
    """The options that the help shows: of those that are settings the ones that the family has, with its defaults, and
    then its other settings, by name."""
    config = _chosen_config(words)
    parts = {"": type(config)}
    if isinstance(config, MixtureTrainingConfig):
        parts = {"": type(config.structure), "evidence.": EvidenceTrainingConfig}
    known, shown = settings_of(parts[""]), []
    # Copies, because the originals parse the command line.
    for param in map(copy.copy, params):
        if (described := all_settings().get(param.name)) is not None:
            one = known.get(param.name)
            param.hidden = one is None
            param.help = param.help if one in (None, described) else options.setting_help(one)
        shown.append(param)
    own = {param.name for param in params}
    template = next(param for param in params if param.name == "logdir")
    for prefix, part in parts.items():
        for name, one in settings_of(part).items():
            if prefix or name not in own:
                # The help shows it under its name, as --set takes it; no option of this name is parsed.
                further = copy.copy(template)
                further.name, further.opts = f"set_{prefix}{name}", [name]
                further.help, further.metavar = options.setting_help(one), options.value_name(one) or "true|false"
                further.rich_help_panel = f"Settings of {part.label}, as --set {prefix}NAME=VALUE"  # pyright: ignore
                shown.append(further)
    return shown


def _chosen_config(words: Sequence[str]) -> TrainingConfig:
    """A configuration of the family that the words of a command line choose; of TiRGN where they choose none that there
    is."""
    found: dict[str, str] = {}
    # Each word is paired with the next one, for `--model regcn` as well as `--model=regcn`.
    for word, following in zip(words, [*words[1:], ""]):
        flag, equals, value = word.partition("=")
        if flag in ("--model", "--history", "--preset", "--events"):
            found[flag] = value if equals else following
    # A checkpoint to add events to makes it a training of the event model.
    family = found.get("--model", "events" if "--events" in found else None)
    chosen = {"family": family, "history": found.get("--history")}
    try:
        return GivenSettings(found.get("--preset"), options=values.given(**chosen)).config()
    except ConfigError:
        return TiRGNTrainingConfig()
