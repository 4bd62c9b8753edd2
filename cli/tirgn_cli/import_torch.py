"""`tirgn import-torch`."""

from pathlib import Path
from typing import Annotated

import typer

from tirgn_cli import options, output, tables, values
from tirgn_cli.common import check_outputs
from tirgn_eqx.errors import ConfigError


@options.command()
def import_torch(
    ctx: options.CommandContext,
    state: Annotated[
        Path,
        typer.Argument(metavar="STATE", help="state_dict of the released model: an .npz of its tensors, or a .pt file"),
    ],
    *,
    data_path: Annotated[str, options.data_path("data set that the model was trained on (required)")],
    out: Annotated[
        Path, options.option(metavar="CKPT.npz", help="checkpoint to write (required)", panel=options.OUTPUT)
    ],
    reading: options.ReadingFlags,
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
) -> None:
    """Turn the weights of the released PyTorch model into a checkpoint that `tirgn eval` runs.

    Sizes are read from the weights. Settings that the weights do not show, such as the length of the window, are given
    as for a training.

    Example: tirgn import-torch state.npz --data-path data/YAGO --preset yago --out models/released.npz
    """
    if out.suffix != ".npz":
        raise ConfigError(f"--out {str(out)!r}: a checkpoint is an .npz file; try {out.name}.npz")
    check_outputs({"--out": out}, state, data_path)
    given = values.given_settings(ctx.params)
    if (family := given.config().family) != "tirgn":
        raise ConfigError(f"family = {family}: the released weights are of TiRGN; give settings of TiRGN")
    settings = given.settings()

    with output.stdout_to_stderr():
        from tirgn_eqx.checkpoint.released import import_torch as write_checkpoint
        from tirgn_eqx.data import load_graph

        graph = load_graph(data_path, **reading.given())
        written = write_checkpoint(state, graph, out, settings)
    if as_json:
        output.print_json({"checkpoint": str(written), "dataset": graph.describe(), "config": settings})
        return
    rows = {"state": str(state), "data": tables.format_dataset(graph.describe()), "checkpoint": str(written)}
    tables.print_table(tables.make_pairs("Imported", rows | {"next": f"tirgn eval {written}"}))
