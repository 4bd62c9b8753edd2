"""`tirgn export`: what a checkpoint has learnt, in the forms of other tools."""

from pathlib import Path
from typing import Annotated

from tirgn_cli import options, output, tables
from tirgn_cli.common import LoadedCheckpoint, check_outputs, load_matched_graph
from tirgn_eqx.errors import ConfigError

NEWEST = "newest"


@options.command()
def export(
    checkpoint: options.Checkpoint,
    *,
    embeddings: Annotated[
        Path | None,
        options.option(
            metavar="FILE",
            help="parquet file for the vectors of entities and relations, by name (default: none)",
            panel=options.OUTPUT,
        ),
    ] = None,
    at: Annotated[
        str | None,
        options.option(
            metavar="DATE|newest",
            help="with --embeddings of a recurrent graph model, the states that it reaches over the facts before this "
            "time, or after the newest fact (default: what it has learnt of each before any fact)",
            panel=options.OUTPUT,
        ),
    ] = None,
    safetensors: Annotated[
        Path | None,
        options.option(
            metavar="FILE",
            help="safetensors file for all arrays by name, with the metadata in its header (default: none)",
            panel=options.OUTPUT,
        ),
    ] = None,
    data_path: Annotated[
        str | None,
        options.data_path(
            "with --at, folder, event table or 'sim' that holds the facts (default: the data that it was trained on)"
        ),
    ] = None,
    reading: options.ReadingFlags,
    as_json: options.Json = False,
) -> None:
    """Write what a checkpoint has learnt in the forms of other tools: vectors by name, or all arrays.

    Example: tirgn export models/tkg/tirgn_best.npz --embeddings vectors.parquet

    Example: tirgn export models/tkg/tirgn_best.npz --embeddings vectors.parquet --at newest

    Example: tirgn export models/tkg/tirgn_best.npz --safetensors tirgn.safetensors
    """
    if embeddings is None and safetensors is None:
        raise ConfigError("nothing to write; give --embeddings FILE, --safetensors FILE, or both")
    if at is not None and embeddings is None:
        raise ConfigError("--at: only with --embeddings; the arrays of a checkpoint are of no time")
    if at is None and (data_path is not None or reading.given()):
        option = "--data-path" if data_path is not None else f"--{next(iter(reading.given())).replace('_', '-')}"
        raise ConfigError(f"{option}: only with --at; without it, everything is in the checkpoint")
    if embeddings is not None and embeddings.suffix.lower() not in (".parquet", ".pq"):
        raise ConfigError(f"--embeddings {str(embeddings)!r}: a parquet file; try {embeddings.name}.parquet")
    check_outputs({"--embeddings": embeddings, "--safetensors": safetensors}, checkpoint, data_path)
    written: dict[str, object] = {}
    with output.stdout_to_stderr():
        if safetensors is not None:
            from tirgn_eqx.checkpoint.safetensors_files import export_safetensors

            written["safetensors"] = str(export_safetensors(checkpoint, safetensors))
        if embeddings is not None:
            written |= {"embeddings": str(embeddings)} | _write_embeddings(
                embeddings, LoadedCheckpoint.load(checkpoint), at, data_path, reading
            )
    if as_json:
        output.print_json({"checkpoint": str(checkpoint)} | written)
    else:
        tables.print_table(tables.make_pairs(f"{checkpoint}, exported", written))


def _write_embeddings(
    path: Path, loaded: LoadedCheckpoint, at: str | None, data_path: str | None, reading: options.ReadingFlags
) -> dict[str, object]:
    """What was written: the names of the tables, the number of vectors, and the time of states."""
    from tirgn_eqx.forecast import embeddings

    about: dict[str, object] = {}
    if at is None:
        found = embeddings.learnt_embeddings(loaded.model)
        entities, relations = loaded.metadata.entities, loaded.metadata.relations
    else:
        graph, _, difference = load_matched_graph(loaded, data_path, reading)
        if difference is not None:
            output.print_warning(difference)
        time = None if at == NEWEST else at
        check_outputs({"--embeddings": path}, graph.provenance.get("path"))
        found, about["time"] = embeddings.evolved_states(loaded.model, loaded.config, graph, time)
        entities, relations = graph.entity_names, graph.relation_names
    count = embeddings.write_embeddings(path, found, entities, relations)
    return {"tables": ", ".join(table.name for table in found), "vectors": count} | about
