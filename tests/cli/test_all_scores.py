"""`tirgn predict --all-scores`: queries of a file, and what is refused. Those of a split: test_eval_scores.py."""

import numpy as np
import polars as pl
import pytest

from tests.cli.cli_helpers import measured


def test_the_scores_of_queries_are_the_forecasts_of_all_candidates(run, checkpoint, tmp_path):
    queries = tmp_path / "queries.csv"
    # Equal queries are scored once.
    queries.write_text("subject,relation,object\n0,1,\n,1,3\n0,1,\n")
    out = tmp_path / "SCORES.PARQUET"
    found = measured(run("predict", checkpoint, "--queries", queries, "--at", "9", "--all-scores", out, "--json"))
    assert found["queries"] == 2 and "split" not in found
    frame = pl.read_parquet(out)
    assert frame["time"].to_list() == [9, 9] and frame["subject"].to_list() == [0, None]
    answers = measured(run("predict", checkpoint, "--subject", "0", "--relation", "1", "--at", "9", "--json"))
    expected = {int(one["name"]): one["probability"] for one in answers["candidates"]}
    np.testing.assert_allclose(frame["scores"][0].to_numpy(), [expected[i] for i in range(6)], rtol=1e-5)


def test_what_goes_nowhere_is_refused(run, checkpoint, tmp_path):
    out, queries = tmp_path / "scores.parquet", tmp_path / "queries.csv"
    queries.write_text("subject,relation,object\n0,,1\n")
    facts = tmp_path / "facts.csv"
    facts.write_text("subject,relation,object\n0,1,1\n")
    named = tmp_path / "named.parquet"
    pl.read_csv(queries).write_parquet(named)
    for args, code, words in (
        (("--all-scores", tmp_path / "scores.csv"), 2, "the scores are a parquet file; try scores.csv.parquet"),
        (("--all-scores", named, "--data-path", named), 2, "is read and would be written over"),
        (("--all-scores", named, "--queries", named), 2, "is read and would be written over"),
        (("--queries", queries, "--out", queries), 2, "is read and would be written over"),
        (("--all-scores", out, "--facts", "3"), 2, "--facts: not with --all-scores"),
        (("--all-scores", out, "--top", "3"), 2, "--top: not with --all-scores"),
        (("--all-scores", out, "--subject", "0"), 2, "--subject: not with --all-scores"),
        (("--all-scores", out, "--at", "9"), 2, "--at: only with --queries"),
        (("--all-scores", out, "--split", "valid", "--queries", queries), 2, "--split: not with --queries"),
        (("--split", "valid", "--facts", "3"), 2, "--split: only with --all-scores"),
        (("--all-scores", out, "--queries", queries), 1, "row 1 asks for a relation; scores are of all entities"),
        (("--all-scores", out, "--queries", facts), 1, "row 1 names a whole fact; scores are of all entities"),
    ):
        result = run("predict", checkpoint, *args)
        assert result.exit_code == code and words in result.stderr, result.output
    assert not out.exists()


@pytest.mark.ci
def test_the_valid_split(run, trained, checkpoint, tmp_path):
    out = tmp_path / "scores.parquet"
    assert run("predict", checkpoint, "--all-scores", out, "--split", "valid").exit_code == 0
    theirs = run("eval", "--scores", out, "--data-path", trained[0] / "tiny", "--split", "valid", "--json")
    ours = measured(run("eval", checkpoint, "--split", "valid", "--json"))
    assert measured(theirs)["entity"]["mrr"] == ours["entity"]["mrr"]
