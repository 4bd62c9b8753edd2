"""`tirgn eval --scores` and `tirgn compare` with files of scores: scores of a checkpoint written, and read again."""

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


def test_what_belongs_to_a_checkpoint_is_refused(run, checkpoint, scores, tmp_path):
    data = ("--data-path", "data")
    for args, words in (
        (("eval",), "nothing to evaluate; give a checkpoint, or --scores FILE with --data-path"),
        (("eval", checkpoint, "--scores", scores, *data), "CKPT: not with --scores"),
        (("eval", "--scores", scores), "--scores: says nothing of the facts that it is about; give --data-path"),
        (("eval", "--scores", scores, *data, "--calibrate"), "--calibrate: not with --scores"),
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
