"""`--quiet` and `--verbose`, the same in every command, and the screen that `tirgn` alone shows."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from tirgn_cli import options

START = """\
tirgn forecasts events on a temporal knowledge graph: who will do what to whom.

Begin here. The made-up world needs no data, and takes a few minutes on 2 cores:

  tirgn train                               train TiRGN on it
  tirgn eval models/tkg/tirgn_best.npz      how often it is right
  tirgn predict models/tkg/tirgn_best.npz --facts 10
                                            what will most probably happen next
  tirgn report models/tkg                   a page about the training

Published data, and the accurate model that needs no GPU:

  tirgn data list                           data sets by name, with their counts
  tirgn data get ICEWS14s
  tirgn train --data-path data/ICEWS14s --model evidence

Events of your own, or of GDELT:

  tirgn data collect --last 30d --dir raw
  tirgn data ingest raw
  tirgn train --num-days 30 --preset gdelt-events

All commands: tirgn --help; more of one: tirgn COMMAND --help
Completion for your shell: tirgn --install-completion
"""


def mannered(command: Callable[..., Any]) -> Callable[..., Any]:
    """`command` with the options `--quiet` and `--verbose`, where it has none of its own."""
    signature = inspect.signature(command)
    more = {"quiet": options.Quiet, "verbose": options.Verbose}
    more = {name: kind for name, kind in more.items() if name not in signature.parameters}
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for name, kind in more.items()
    ]

    @functools.wraps(command)
    def run(*args: Any, **given: Any) -> Any:
        return command(*args, **{name: value for name, value in given.items() if name not in more})

    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *added])  # pyright: ignore
    run.__annotations__ = {**command.__annotations__, **more}
    return run
