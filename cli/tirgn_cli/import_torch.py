"""`tirgn import-torch`."""

from pathlib import Path
from typing import Annotated

import typer

from tirgn_cli import complete, options
from tirgn_eqx.config import GivenSettings
from tirgn_eqx.errors import ConfigError


def import_torch(
    state: Annotated[
        Path,
        typer.Argument(metavar="STATE", help="state_dict of the released model: an .npz of its tensors, or a .pt file"),
    ],
    data_path: Annotated[
        str,
        options.option(
            metavar="DIR",
            autocompletion=complete.data,
            help="data set that the model was trained on (required)",
            panel=options.DATA,
        ),
    ],
    out: Annotated[
        Path,
        options.option(metavar="CKPT.npz", help="checkpoint to write (required)", panel=options.OUTPUT),
    ],
    num_days: options.NumDays = None,
    max_events: options.MaxEvents = None,
    granularity: options.Granularity = None,
    time_format: options.TimeFormat = None,
    columns: options.Columns = None,
    skip_bad_rows: options.SkipBadRows = None,
    num_layers: Annotated[
        int | None,
        options.option(
            metavar="N",
            help="graph convolution layers per snapshot (default: as many as the weights have)",
            panel=options.MODEL,
        ),
    ] = None,
    history_len: options.HistoryLen = None,
    history_rate: options.HistoryRate = None,
    l2_normalize: options.Normalize = None,
    preset: options.Preset = None,
    config_file: options.ConfigFile = None,
    assignments: options.Assignments = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Turn the weights of the released PyTorch model into a checkpoint that `tirgn eval` runs.

    Sizes are read from the weights; what they do not show, such as the length of the window, is given as for
    a training.

    Example: tirgn import-torch state.npz --data-path data/YAGO --preset yago --out models/released.npz
    """
    if out.suffix != ".npz":
        raise ConfigError(f"--out {str(out)!r}: a checkpoint is an .npz file; try {out.name}.npz")
    flags = options.given(
        num_layers=num_layers,
        history_len=history_len,
        history_rate=history_rate,
        l2_normalize=l2_normalize,
    )
    given = GivenSettings(preset, file=config_file, assignments=assignments or (), options=flags)
    if (family := given.config().family) != "tirgn":
        raise ConfigError(f"family = {family}: the released weights are of TiRGN; give settings of TiRGN")
    overrides = given.settings()

    from tirgn_cli import show

    with show.clean_stdout():
        from tirgn_eqx.checkpoint.released import import_torch as run
        from tirgn_eqx.data import load_graph

        load = options.given(
            num_days=num_days,
            max_events=max_events,
            granularity=granularity,
            time_format=time_format,
            columns=columns,
            skip_bad_rows=skip_bad_rows,
        )
        graph = load_graph(data_path, **load)
        written = run(state, graph, out, overrides)
    if as_json:
        show.document({"checkpoint": str(written), "dataset": graph.describe(), "config": overrides})
    else:
        show.result(
            show.pairs(
                "Imported",
                {
                    "state": str(state),
                    "data": show.dataset(graph.describe()),
                    "checkpoint": str(written),
                    "next": f"tirgn eval {written}",
                },
            )
        )
