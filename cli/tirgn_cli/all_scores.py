"""`tirgn predict --all-scores`: the scores of all candidates, in a file that other tools rank."""

from pathlib import Path

from tirgn_cli import options, output, tables, values
from tirgn_cli.common import LoadedCheckpoint, check_outputs, load_matched_graph
from tirgn_eqx.errors import ConfigError


def write_all_scores(
    checkpoint: Path,
    out: Path,
    *,
    queries: Path | None,
    split: str | None,
    at: str | None,
    data_path: str | None,
    reading: options.ReadingFlags,
    as_json: bool,
) -> None:
    """Write the scores of the queries of a file, or of those of a held-out split."""
    if out.suffix.lower() not in (".parquet", ".pq"):
        raise ConfigError(f"--all-scores {str(out)!r}: the scores are a parquet file; try {out.name}.parquet")
    if queries is not None and split is not None:
        raise ConfigError("--split: not with --queries, which says what is asked")
    if queries is None and at is not None:
        raise ConfigError("--at: only with --queries; the queries of a split are forecast at their own times")
    held_out = values.check_split(split or "test")
    check_outputs({"--all-scores": out}, checkpoint, queries, data_path)
    with output.stdout_to_stderr():
        from tirgn_eqx.evaluate.all_scores import score_split, write_scores

        if queries is not None:
            from tirgn_eqx.forecast.queries import check_names, read_queries

            # A faulty file is told of before the model is loaded.
            table = read_queries(queries)
            from tirgn_eqx.forecast import Forecaster
            from tirgn_eqx.forecast.scored import check_entity_queries, score_queries

            check_entity_queries(queries, table.rows())
            forecaster = Forecaster.load(checkpoint, data_path, at=at, **reading.given())
            check_names(queries, table, forecaster.names)
            graph, scored = forecaster.graph, score_queries(forecaster, table.rows())
            of = f"about {forecaster.time}"
        else:
            loaded = LoadedCheckpoint.load(checkpoint)
            if held_out == "valid":
                loaded.check_valid_unseen("--split valid")
            graph, _, difference = load_matched_graph(loaded, data_path, reading)
            if difference is not None:
                output.print_warning(difference)
            scored = score_split(loaded.model, graph, split=held_out, **loaded.config.window())
            of = f"of {held_out}"
        check_outputs({"--all-scores": out}, graph.provenance.get("path"))
        with output.working(f"scoring the queries {of} of {graph.name}"):
            number = write_scores(out, graph, scored)
    if as_json:
        description = {"dataset": graph.describe(), "queries": number, "candidates": graph.num_entities}
        about = {"split": held_out} if queries is None else {}
        output.print_json({"checkpoint": str(checkpoint), **about, **description, "out": str(out)})
        return
    output.print_result(tables.format_dataset(graph.describe()))
    output.print_note(f"the scores of {graph.num_entities:,} entities for {number:,} queries {of} are in {out}")
