"""Scores of other models: ranks against counting, in all forms and under all filters, and what is refused."""

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.helpers import both_directions, facts_of_a_graph, make_graph
from tirgn_eqx.errors import DataError, DataWarning
from tirgn_eqx.evaluate.compare import EvaluatedModel, compare
from tirgn_eqx.evaluate.filters import FILTERS
from tirgn_eqx.evaluate.score_files import open_scores
from tirgn_eqx.evaluate.scores import evaluate_scores
from tirgn_eqx.storage.table_probe import kept

LEVELS = (-np.inf, 0.0, 0.25, 1.0)


def rank(scores, answer, left_out):
    """Mean of the best and the worst place that `answer` can get by breaking ties."""
    others = [score for i, score in enumerate(scores) if i != answer and i not in left_out]
    best = 1 + sum(score > scores[answer] for score in others)
    worst = 1 + sum(score >= scores[answer] for score in others)
    return (best + worst) / 2


def answers_of(graph, split="test"):
    """(subject, relation or inverse relation, answer, snapshot) of every query, in the order of an evaluation."""
    mine = np.flatnonzero(graph.split == ("train", "valid", "test").index(split))
    times = [time for time in np.unique(graph.snapshot[mine]).tolist() if time > 0]
    return [fact for time in times for fact in both_directions(graph, mine[graph.snapshot[mine] == time])]


def ranks_by_counting(graph, scores, filter):
    """The rank of every answer, by looking at every fact."""
    facts, found = both_directions(graph), []
    for s, r, o, t in answers_of(graph):
        true = {other for a, b, other, time in facts if (a, b) == (s, r) and (filter == "all" or time == t)}
        found.append(rank(scores[s, r, t], o, set() if filter == "none" else true - {o}))
    return found


def columns_of(graph, queries):
    """The columns of queries (subject, relation, snapshot), as an npz file has them."""
    relations, rows = (
        graph.num_relations,
        [(s, r, -1, t) if r < graph.num_relations else (-1, r, s, t) for s, r, t in queries],
    )
    s, r, o, t = np.array(rows, np.int64).reshape(-1, 4).T
    return {"subject": s, "relation": r % relations, "object": o, "time": graph.times[t]}


@pytest.fixture(scope="module", autouse=True)
def one_helper():
    """One process looks at all parquet files of this module."""
    with kept():
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("scores")


@settings(max_examples=25, deadline=None)
@given(facts=facts_of_a_graph(), data=st.data())
def test_ranks_by_counting_in_every_form(place, facts, data):
    graph = make_graph(**facts)
    answers = answers_of(graph)
    assume(answers)
    queries = sorted({(s, r, t) for s, r, _, t in answers})
    rng = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    rng.shuffle(queries)
    scores = {tuple(query): rng.choice(LEVELS, graph.num_entities) for query in queries}
    np.savez(place / "dense.npz", **columns_of(graph, queries), scores=np.array([scores[tuple(q)] for q in queries]))
    # Of those that are listed, the lowest are as good as those that are not.
    listed = [
        (*q, c)
        for q in queries
        for c in range(graph.num_entities)
        if scores[tuple(q)][c] > -np.inf or rng.random() < 0.5
    ]
    # A query of which nothing is listed has a row without a candidate.
    listed += [(*q, -1) for q in queries if not any(row[:3] == tuple(q) for row in listed)]
    rng.shuffle(listed)
    columns = columns_of(graph, [row[:3] for row in listed])
    score = np.array([np.nan if row[3] < 0 else scores[tuple(row[:3])][row[3]] for row in listed])
    np.savez_compressed(place / "listed.npz", **columns, candidate=np.array([row[3] for row in listed]), score=score)
    for filter in FILTERS:
        expected = ranks_by_counting(graph, scores, filter)
        for name in ("dense", "listed"):
            found = evaluate_scores(open_scores(place / f"{name}.npz"), graph, filter=filter)
            assert found.filter == filter
            assert found.filtered["entity"].tolist() == expected
            assert found.raw["entity"].tolist() == ranks_by_counting(graph, scores, "none")
            assert found.inverse.tolist() == [r >= graph.num_relations for _, r, _, _ in answers]
        # The same ranks as given ones; a fact that occurs twice is listed once.
        ranks = {(s, r, t, o): rank for (s, r, o, t), rank in zip(answers, expected)}
        columns = columns_of(graph, [key[:3] for key in ranks])
        given = {"answer": np.array([key[3] for key in ranks]), "rank": np.array([*ranks.values()])}
        np.savez(place / "ranks.npz", **columns, **given)
        found = evaluate_scores(open_scores(place / "ranks.npz"), graph, filter=filter)
        assert found.filtered["entity"].tolist() == expected
        assert ("entity" in found.raw) == (filter == "none")


# Two actors of one kind are asked about at every time: (A visit ?) and (? visit B) among others.
FACTS = [(0, 0, 1, 0), (0, 0, 2, 1), (0, 0, 1, 2), (0, 0, 2, 2), (3, 1, 0, 2)]
NAMES = {"entity_names": ("A", "B", "C", "D"), "relation_names": ("visit", "praise")}


@pytest.fixture(scope="module")
def graph():
    return make_graph(FACTS, num_entities=4, num_relations=2, valid=1, test=2, time_unit=86_400, **NAMES)


def table(graph, **changes):
    """A frame of scores for every query of the graph, by name and date."""
    queries = sorted({(s, r, t) for s, r, _, t in answers_of(graph)})
    given = [r < 2 for _, r, _ in queries]
    names = [NAMES["entity_names"][s] for s, _, _ in queries]
    columns = {
        "subject": [name if asked else None for name, asked in zip(names, given)],
        "relation": [NAMES["relation_names"][r % 2] for _, r, _ in queries],
        "object": ["" if asked else name for name, asked in zip(names, given)],
        "time": ["1970-01-03" for _ in queries],
        "scores": [[0.1, 0.4, 0.3, 0.2]] * len(queries),
    }
    return pl.DataFrame(columns | changes)


def written(frame, path, **metadata):
    frame.write_parquet(path, **metadata)
    return open_scores(path)


def test_names_and_dates_and_what_each_filter_leaves_out(graph, tmp_path):
    found = evaluate_scores(written(table(graph), tmp_path / "a.parquet"), graph)
    # (A visit B) and (A visit C) are true together; (D praise A); then the inverses of the three.
    assert found.filtered["entity"].tolist() == [1, 1, 4, 4, 4, 3]
    assert found.raw["entity"].tolist() == [1, 2, 4, 4, 4, 3]
    dates = table(graph, time=pl.Series([2] * 5).cast(pl.Date))
    whole = table(graph, time=pl.Series([2.0] * 5))
    unsigned = table(graph, time=pl.Series([2] * 5, dtype=pl.UInt64))
    for frame in (dates.with_columns(pl.col("relation").cast(pl.Categorical)), whole, unsigned):
        again = evaluate_scores(written(frame, tmp_path / "a.parquet"), graph)
        assert again.filtered["entity"].tolist() == found.filtered["entity"].tolist()


def test_a_comparison_of_two_files(graph, tmp_path):
    one = evaluate_scores(written(table(graph), tmp_path / "a.parquet"), graph)
    lists = pl.Series([[0.4, 0.1, 0.2, 0.3]] * 5, dtype=pl.Array(pl.Float64, 4))
    two = evaluate_scores(written(table(graph, scores=lists), tmp_path / "b.parquet"), graph)
    models = [EvaluatedModel(name, "scores", found) for name, found in (("a", one), ("b", two))]
    found = compare(*models, resamples=100)
    assert found.difference["mrr"].points == pytest.approx(100 * (one.entity["mrr"] - two.entity["mrr"]))
    other = evaluate_scores(open_scores(tmp_path / "b.parquet"), graph, filter="all")
    with pytest.raises(DataError, match="a was evaluated with --filter time and b with --filter all"):
        compare(models[0], EvaluatedModel("b", "scores", other))


@pytest.mark.parametrize("filter", FILTERS)
def test_a_report_names_the_filter_and_has_raw_figures_where_they_are_known(graph, filter, tmp_path):
    frame, answers = table(graph), answers_of(graph)
    rows = [frame.row(number) for number in (0, 0, 4, 2, 3, 1)]
    ranks = pl.DataFrame(rows, schema=frame.schema, orient="row").drop("scores")
    ranks = ranks.with_columns(answer=pl.Series([o for _, _, o, _ in answers]), rank=pl.Series([1.0, 2.5, 1, 1, 1, 4]))
    report = evaluate_scores(written(ranks, tmp_path / "a.parquet"), graph, filter=filter).report()
    assert report.filter == filter and (report.entity_raw is None) == (filter != "none")
    assert report.entity["mrr"] == pytest.approx((4 + 1 / 2.5 + 1 / 4) / 6)
    assert report.calibration is None and "nll" not in report.entity


# At a snapshot of another split, at a time without facts, and before all of them.
@pytest.mark.parametrize("time", ["1970-01-02", "1970-01-05", "1960-01-01"])
def test_rows_of_other_queries_are_left_out_with_a_warning(graph, time, tmp_path):
    frame = table(graph)
    file = written(pl.concat([frame, frame.head(1).with_columns(time=pl.lit(time))]), tmp_path / "a.parquet")
    with pytest.warns(DataWarning, match="1 of 6 rows are of queries that the test split of made does not ask"):
        found = evaluate_scores(file, graph)
    assert found.filtered["entity"].tolist() == [1, 1, 4, 4, 4, 3]


HUGE = pl.lit(2**64 - 1, pl.UInt64)
NAN = [0.1, float("nan"), 0.3, 0.2]


def repeated(frame, columns):
    """The frame in another form, with its first row twice."""
    other = frame.drop("scores").with_columns(pl.lit(value).alias(name) for name, value in columns.items())
    return pl.concat([other, other.head(1)])


LISTED = {"candidate": "B", "score": 1.0}
RANKS = {"answer": "B", "rank": 1.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.tail(3), r"2 of 5 queries are missing, the first is \(A, visit, \?\) at 1970-01-03"),
        (lambda f: pl.concat([f, f[1:3]]), r"row 6: repeats the query of an earlier row; give each once; 2 rows"),
        (lambda f: f.with_columns(relation=pl.lit("Visit")), r"row 1: relation 'Visit' is not known; did you mean 'vi"),
        (lambda f: f.with_columns(subject=pl.lit("A")), r"row \d: subject and object are both given; leave the part"),
        (lambda f: f.with_columns(time=pl.lit("1970-02-30")), r"row 1: time '1970-02-30' is none that can be read"),
        (lambda f: f.with_columns(time=pl.lit(None, pl.Int64)), r"row 1: has no time; the snapshots of made go from 0"),
        (lambda f: f.with_columns(time=pl.lit(7)), r"holds no query .*; none has the time .* from 0 to 2"),
        (lambda f: f.with_columns(time=HUGE), r"row 1: time 18446744073709551615 is no whole"),
        (lambda f: f.with_columns(time=pl.lit(float("inf"))), r"row 1: time inf is no whole number of 64 bits; "),
        (lambda f: f.with_columns(relation=HUGE), r"row 1: relation 18446744073709551615 is no"),
        (lambda f: f.with_columns(subject=pl.lit(float("inf"))), r"row 1: subject inf is no whole .*; ids are 0 to 3"),
        (lambda f: f.with_columns(object=pl.lit(-1e300)), r"row 1: object -1e\+300 is no whole .*; ids are 0"),
        (lambda f: f.with_columns(relation=pl.lit(9)), r"row 1: relation 9 is no id; ids are 0 to 3"),
        (lambda f: f.with_columns(relation=pl.lit(3)), r"row \d: predicts the subject of the inverse relation 3"),
        (lambda f: f.with_columns(relation=pl.lit(None)), r"row 1: has no relation"),
        (lambda f: f.with_columns(scores=pl.Series([[1.0, 2, 3]] * 5)), "has 3 scores; made has 4 entities"),
        (lambda f: f.with_columns(scores=pl.Series([[1.0, 2, 3, 4]] * 4 + [[1.0]])), "row 5 has 1 scores and row 1"),
        (lambda f: f.with_columns(scores=pl.Series([*[[1.0, 2, 3, 4]] * 3, NAN, NAN])), "row 4: a score is mis"),
        (lambda f: f.with_columns(scores=pl.Series([["a"]] * 5)), r"column scores has type List\(String\)"),
        (lambda f: f.drop("time"), "missing columns time"),
        (lambda f: f.drop("scores"), "no scores and no ranks"),
        (lambda f: f.with_columns(answer=pl.lit("A"), rank=pl.lit(1)), "two ways to say it"),
        (lambda f: f.drop("scores").with_columns(candidate=pl.lit("E"), score=pl.lit(1)), "entity 'E' is not known"),
        (lambda f: f.drop("scores").with_columns(candidate=pl.lit("B"), score=pl.lit("x")), "column score has type"),
        (lambda f: f.drop("scores").with_columns(answer=pl.lit("B"), rank=pl.lit(0)), "rank 0 is not between 1 and 4"),
        (lambda f: f.drop("scores").with_columns(answer=pl.lit("B"), rank=pl.lit(2)), "answers have no rank, the"),
        (lambda f: repeated(f, LISTED), "row 6: repeats the query and candidate of an earlier row"),
        (lambda f: repeated(f, RANKS), "row 6: repeats the query and answer of an earlier row"),
        (lambda f: f.with_columns(time=pl.lit("1970-01-02")), "holds no query of the test split"),
    ],
)  # fmt: skip
def test_what_is_refused(graph, change, message, tmp_path):
    with pytest.raises(DataError, match=message):
        evaluate_scores(written(change(table(graph)), tmp_path / "a.parquet"), graph)
