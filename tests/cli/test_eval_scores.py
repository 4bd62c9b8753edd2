"""`tirgn eval --scores` and `tirgn compare` with files of scores: scores of a checkpoint written, and read again."""

import json

import numpy as np
import polars as pl
import pytest

from tests.cli.cli_helpers import measured

RANKED = ("entity_raw", "snapshots", "strata", "object", "subject", "mrr_interval", "dataset", "split", "setting")


@pytest.fixture(scope="module")
def scores(tmp_path_factory, checkpoint):
    """The scores of a checkpoint, as another tool finds them."""
    from tests.cli.cli_helpers import call_app

    path = tmp_path_factory.mktemp("scores") / "scores.parquet"
    found = measured(call_app("predict", checkpoint, "--all-scores", path, "--json"))
    assert found["queries"] == 12 and found["candidates"] == 6 and found["split"] == "test"
    assert found["checkpoint"] == str(checkpoint) and found["out"] == str(path)
    return path


def without_nll(found):
    """Figures of ranks alone: scores are no probabilities to an evaluation."""
    if isinstance(found, dict):
        return {key: without_nll(value) for key, value in found.items() if key != "nll"}
    return [without_nll(one) for one in found] if isinstance(found, list) else found


@pytest.mark.parametrize("filter", [(), ("--filter", "all"), ("--filter", "none")], ids=["time", "all", "none"])
def test_the_figures_are_those_of_the_checkpoint(run, trained, checkpoint, scores, filter):
    ours = measured(run("eval", checkpoint, *filter, "--json"))
    theirs = measured(run("eval", "--scores", scores, "--data-path", trained[0] / "tiny", *filter, "--json"))
    for key in ("entity", *RANKED):
        assert theirs[key] == without_nll(ours[key]), key
    assert ours["filter"] == theirs["filter"] == (filter[1] if filter else "time")
    assert theirs["scores"] == str(scores) and theirs["form"] == "scores"
    # The facts of this data alternate: what was true at the last time is true at other times, too.
    assert ("relation" in ours) == (filter != ("--filter", "all")) and "relation" not in theirs
    table = run("eval", "--scores", scores, "--data-path", trained[0] / "tiny", *filter)
    words = {"time": "time-aware filter", "all": "time-unaware filter", "none": "no filter"}[theirs["filter"]]
    assert table.exit_code == 0 and words in " ".join(table.stdout.split()), table.output


def test_a_comparison_with_a_checkpoint_and_with_ranks(run, trained, checkpoint, scores, tmp_path):
    found = measured(run("compare", checkpoint, scores, "--resamples", "100", "--json"))
    assert found["difference"]["mrr"]["points"] == 0 and found["passed"] is True
    assert [model["model_type"] for model in found["models"]] == ["tirgn", "scores"]
    # Everyone else's ranks are 1: as npz, whose ids are those of the data.
    facts = np.loadtxt(trained[0] / "tiny" / "test.txt", int)
    s, r, o, t = np.concatenate([facts, facts]).T
    inverse, none = np.arange(12) >= 6, np.full(12, -1)
    columns = {"subject": np.where(inverse, none, s), "relation": r, "object": np.where(inverse, o, none), "time": t}
    ranks = tmp_path / "ranks.npz"
    np.savez(ranks, **columns, answer=np.where(inverse, s, o), rank=np.ones(12))
    for args, code, words in (
        (("compare", scores, ranks), 2, "ranks.npz: holds ranks, which cannot be filtered any more; say with --filter"),
        (("eval", "--scores", ranks, "--data-path", trained[0] / "tiny"), 2, "say with --filter time, all or none"),
        (("compare", scores, scores, "--filter", "time"), 2, "no checkpoint says which data to use; give --data-path"),
    ):
        result = run(*args)
        assert result.exit_code == code and words in result.stderr, result.output
    found = measured(
        run(
            *("compare", ranks, scores, checkpoint, "recurrency", "--data-path", trained[0] / "tiny"),
            *("--filter", "all", "--resamples", "100", "--json"),
        )
    )
    assert [one["models"][0]["entity"]["mrr"] for one in found["comparisons"]] == [1, 1, 1]
    assert all(one["filter"] == "all" for one in found["comparisons"])
    figures = measured(run("eval", "--scores", ranks, "--data-path", trained[0] / "tiny", "--filter", "all", "--json"))
    assert figures["entity"]["mrr"] == 1 and figures["form"] == "ranks" and "entity_raw" not in figures


def test_temperatures_are_fitted_without_the_filter_that_leaves_relations_out(run, checkpoint, tmp_path):
    fitted = []
    for name, filter in (("time.npz", "time"), ("all.npz", "all")):
        (tmp_path / name).write_bytes(checkpoint.read_bytes())
        result = run("eval", tmp_path / name, "--split", "valid", "--calibrate", "--filter", filter, "--json")
        fitted.append(measured(result)["calibrated"]["temperature"])
    assert fitted[0] == fitted[1] and set(fitted[0]) == {"entity", "relation"}


def test_what_belongs_to_a_checkpoint_is_refused(run, checkpoint, scores, tmp_path):
    data = ("--data-path", "data")
    for args, words in (
        (("eval",), "nothing to evaluate; give a checkpoint, or --scores FILE with --data-path"),
        (("eval", checkpoint, "--scores", scores, *data), "CKPT: not with --scores"),
        (("eval", "--scores", scores), "--scores: says nothing of the facts that it is about; give --data-path"),
        (("eval", "--scores", scores, *data, "--calibrate"), "--calibrate: not with --scores"),
        (("eval", "--scores", scores, *data, "--horizon", "7"), "--horizon: not with --scores"),
        (("eval", "--scores", scores, *data, "--multi-step", "--feed-back"), "--feed-back: not with --scores"),
        (
            ("eval", "--scores", scores, *data, "--filter", "static"),
            "--filter 'static': must be one of time, all, none",
        ),
        (("eval", checkpoint, "--online", "--filter", "all"), "--filter: not with --online"),
    ):
        result = run(*args)
        assert result.exit_code == 2 and words in result.stderr, result.output


def test_a_query_that_is_missing_is_named(run, trained, scores, tmp_path):
    frame = pl.read_parquet(scores)
    frame.filter(pl.col("subject").is_not_null()).write_parquet(tmp_path / "half.parquet")
    result = run("eval", "--scores", tmp_path / "half.parquet", "--data-path", trained[0] / "tiny")
    assert result.exit_code == 1 and result.stderr.count("\n") == 1
    assert "6 of 12 queries are missing, the first is (?, 1, 0) at 9; give all, in both directions" in result.stderr


def test_a_snapshot_that_another_model_cannot_rank_is_left_out_of_a_comparison(run, folder, tmp_path):
    (folder / "test.txt").write_text((folder / "test.txt").read_text() + "6\t0\t0\t10\n")
    (folder / "stat.txt").write_text("7\t2\n")
    (folder / "entity2id.txt").write_text("".join(f"E{i}\t{i}\n" for i in range(7)))
    (folder / "relation2id.txt").write_text("calls\t0\nmeets\t1\n")
    names = [f"E{i}" for i in range(6)]
    columns = {"subject": [*names, *[None] * 6], "relation": "meets", "object": [*[None] * 6, *names], "time": 9}
    small = pl.DataFrame(columns | {"scores": [[0.1 * i for i in range(6)]] * 12})
    known = {"num_entities": 6, "num_relations": 2, "entities": names, "relations": ["calls", "meets"]}
    small.write_parquet(tmp_path / "SMALL.PARQUET", metadata={"tirgn.vocabulary": json.dumps(known)})
    scores = [*(0.1 * i for i in range(6)), -1.0]
    whole = small.with_columns(scores=pl.lit(scores))
    # The only fact of the last day is of an entity that the other model does not know.
    last = {"subject": ["E6", None], "relation": "calls", "object": [None, "E0"], "time": 10}
    last = pl.DataFrame(last).with_columns(scores=pl.lit(scores))
    pl.concat([whole, last.select(whole.columns)]).write_parquet(tmp_path / "whole.parquet")
    command = ("compare", tmp_path / "SMALL.PARQUET", tmp_path / "whole.parquet", "--data-path", folder)
    result = run(*command, "--resamples", "100", "--json")
    assert result.exit_code == 0 and "2 of 14 rows are of queries that" in result.stderr, result.output
    found = json.loads(result.stdout)
    assert found["difference"]["mrr"]["points"] == 0
    assert sum(part["queries"] for part in found["strata"]["recurrence"]) == 12
