"""Nothing that happens at a time or later reaches the prediction of that time: not one bit."""

import dataclasses
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import make_graph, same_bits, tiny_model
from tirgn_eqx.data.batches.buckets import Bucket
from tirgn_eqx.data.batches.graph_loader import GraphLoader, GraphOptions
from tirgn_eqx.data.batches.loader import KINDS
from tirgn_eqx.data.graph import SPLITS, StaticGraph
from tirgn_eqx.data.index.history import build_history_vocabulary
from tirgn_eqx.evaluate.evaluators import RecurrentGraphEvaluator

ENTITIES, RELATIONS, MOST_FACTS, HISTORY_LEN, BATCH_SIZE = 8, 2, 5, 3, 4
STATIC = StaticGraph(np.arange(6) % 4, np.arange(6) % 2, np.arange(6) % 3, 2, 3)
# Every graph below fits, so that all examples share one compilation and one padding.
WINDOW = (ENTITIES, 2 * MOST_FACTS, MOST_FACTS)
TRAINING = Bucket(WINDOW, 3, (4, 4, 32, 20), (4, 4, 16, 16))
EVALUATION = Bucket(WINDOW, 1, (10, 10, 80, 50), (10, 10, 40, 40), rows=ENTITIES)
COMPILED = ({}, {})


class World(NamedTuple):
    """Facts (s, r, o) of the past, of the target's time, and of two futures; and when all of it happened.

    `valid` and `test` count the facts of past and present before the split begins; the futures' own counts
    hold where it begins later.
    """

    past: list
    now: list
    times: list
    valid: int | None
    test: int | None
    futures: list

    @property
    def target(self):
        return len(self.past)

    def graph(self, future=0, past=None, now=None):
        """The graph in one of the futures, with another past or present when given."""
        later, later_times, later_splits = self.futures[future]
        known = [*(past or self.past), now or self.now]
        times = np.cumsum([*self.times, *later_times]).tolist()
        facts = [(*fact, time) for time, facts in zip(times, [*known, *later]) for fact in facts]
        count = sum(map(len, known))
        begins = [
            count + later_split if bound is None else bound
            for bound, later_split in zip((self.valid, self.test), later_splits)
        ]
        fields = {"num_entities": ENTITIES, "num_relations": RELATIONS, "static": STATIC}
        if self.valid is None:
            # The clock's step is read from all train times, as the weights are learnt from all train facts. Where the
            # target itself is a train fact, later train times may therefore change it, and it is given here.
            fields["time_interval"] = int(np.gcd.reduce(np.diff(times[: len(known)])))
        return make_graph(facts, valid=begins[0], test=begins[1], **fields)


# A few entities, so that facts recur in past, present and futures; some more that only negatives know.
BUSY = st.integers(0, 2)
FACTS = st.lists(
    st.tuples(BUSY, st.integers(0, RELATIONS - 1), BUSY | st.just(ENTITIES - 1)),
    min_size=1,
    max_size=MOST_FACTS,
)
GAP = st.integers(1, 3)


@st.composite
def worlds(draw):
    past = draw(st.lists(FACTS, min_size=1, max_size=5))
    now = draw(FACTS)
    times = draw(st.lists(GAP, min_size=len(past) + 1, max_size=len(past) + 1))
    count = len(now) + sum(map(len, past))
    # A split may begin anywhere, inside the target's time too; past the end means later.
    valid, test = sorted(draw(st.tuples(*[st.integers(1, count + 3)] * 2)))
    futures = []
    for _ in range(2):
        later = draw(st.lists(FACTS, max_size=3))
        total = sum(map(len, later))
        later_times = draw(st.lists(GAP, min_size=len(later), max_size=len(later)))
        futures.append((later, later_times, sorted(draw(st.tuples(*[st.integers(0, total)] * 2)))))

    def known(bound):
        return bound if bound <= count else None

    return World(past, now, times, known(valid), known(test), futures)


@pytest.fixture(scope="module")
def model():
    return tiny_model(ENTITIES, RELATIONS, STATIC)


def make_loader(graph, split, history_window, **options):
    """The split's batches, all of one shape whatever else the graph holds."""
    draws = options or {"num_negatives": 3}
    loader = GraphLoader(
        graph,
        build_history_vocabulary(graph),
        split,
        GraphOptions(
            history_len=HISTORY_LEN, history_window=history_window, batch_size=BATCH_SIZE, with_truth=True, **draws
        ),
    )
    return force(loader, dataclasses.replace(TRAINING, rows=ENTITIES if options else 0))


def force(loader, bucket):
    for own in loader.buckets:
        assert own.num_micro <= bucket.num_micro
    loader.buckets, loader.bucket_of = [bucket], dict.fromkeys(loader.bucket_of, 0)
    return loader


@eqx.filter_jit
def forecast(model, batch):
    """Encoding and log probabilities of both kinds, `(micro, unit, candidate)`."""
    encoding, _ = model.encoder(batch.window)

    def ask(kind):
        return jax.lax.map(
            lambda queries: model.log_probabilities(encoding, queries, batch.time_index, kind=kind),
            getattr(batch, f"{kind}_queries"),
        )

    return encoding, ask("entity"), ask("relation")


def ranked(model, graph, split, history_window):
    evaluator = RecurrentGraphEvaluator(graph, split, history_len=HISTORY_LEN, history_window=history_window)
    force(evaluator.loader, EVALUATION)
    evaluator.steps.rank.compiled, evaluator.steps.encoder.edgeless.compiled = COMPILED
    return evaluator(model)


def splits_at(graph, target):
    return [SPLITS[number] for number in np.unique(graph.split[graph.snapshot == target])]


@settings(max_examples=40, deadline=None)
@given(world=worlds(), history_window=st.sampled_from([0, 1, 2]))
def test_the_future_changes_no_bit_of_a_batch_or_a_forecast(model, world, history_window):
    one, other = world.graph(0), world.graph(1)
    target = world.target
    assert splits_at(one, target) == splits_at(other, target)
    for split in splits_at(one, target):
        first, second = (make_loader(graph, split, history_window).build(target, epoch=1) for graph in (one, other))
        assert same_bits(first.batch, second.batch)
        assert all(np.array_equal(first.rows[kind], second.rows[kind]) for kind in KINDS)
        assert same_bits(forecast(model, first.batch), forecast(model, second.batch))
        options = {"rows": "touched", "num_shared": 2}
        few = [make_loader(graph, split, history_window, **options).build(target, epoch=1) for graph in (one, other)]
        assert same_bits(few[0].batch, few[1].batch)


@settings(max_examples=25, deadline=None)
@given(world=worlds(), history_window=st.sampled_from([0, 1, 2]))
def test_the_future_changes_no_bit_of_an_evaluation(model, world, history_window):
    one, other = world.graph(0), world.graph(1)
    for split in splits_at(one, world.target):
        results = [ranked(model, graph, split, history_window) for graph in (one, other)]
        until = [result.snapshot <= world.target for result in results]
        assert until[0].sum() == until[1].sum() > 0
        for name in ("filtered", "raw", "nll"):
            for kind in KINDS:
                before, after = (getattr(result, name)[kind][mask] for result, mask in zip(results, until))
                assert before.tobytes() == after.tobytes()


def units_of(batch, kind):
    """{question: (candidates seen, log probability row numbers)} without the padding."""
    queries = jax.tree.map(np.asarray, getattr(batch, f"{kind}_queries"))
    found = {}
    for place in zip(*np.nonzero(queries.weight)):
        mine = queries.history_query[place[0]] == place[1]
        seen = frozenset(queries.history_candidate[place[0]][mine].tolist())
        question = (int(queries.subject[place]), int(queries.condition[place]))
        assert found.setdefault(question, (seen, place))[0] == seen
    return found


@settings(max_examples=25, deadline=None)
@given(world=worlds(), now=FACTS, keep=st.integers(0, MOST_FACTS), history_window=st.sampled_from([0, 1, 2]))
def test_the_present_changes_what_is_asked_and_not_what_is_known(model, world, now, keep, history_window):
    # One split for the whole present, whatever its facts are.
    before = sum(map(len, world.past))

    def clip(bound):
        return None if bound is None else min(bound, before)

    world = world._replace(valid=clip(world.valid), test=clip(world.test))
    now = (world.now[:keep] + now)[:MOST_FACTS]
    one, other = world.graph(0), world.graph(0, now=now)
    (split,) = splits_at(one, world.target)
    first, second = (make_loader(graph, split, history_window).build(world.target).batch for graph in (one, other))
    assert same_bits(first.window, second.window)
    assert same_bits(first.time_index, second.time_index)
    forecasts = [forecast(model, batch) for batch in (first, second)]
    assert same_bits(forecasts[0][0], forecasts[1][0])
    for number, kind in enumerate(KINDS, start=1):
        old, new = units_of(first, kind), units_of(second, kind)
        for question in old.keys() & new.keys():
            assert old[question][0] == new[question][0]
            rows = [np.asarray(f[number])[u[question][1]] for f, u in zip(forecasts, (old, new))]
            np.testing.assert_allclose(*rows, rtol=1e-5, atol=1e-6)
        facts = {(s, r, o) if kind == "entity" else (s, o, r) for s, r, o in now}
        assert {(s, given) for s, given, _ in facts} <= new.keys()


def test_the_past_does_change_forecasts(model):
    """So that the tests above could have failed."""
    past = [[(0, 0, 1), (2, 1, 3)], [(0, 0, 2)], [(1, 1, 4)], [(0, 0, 5)]]
    world = World(past, [(0, 0, 1)], [1] * 5, None, None, [([], [], (0, 0))] * 2)

    def batch(past):
        return make_loader(world.graph(past=past), "train", 0).build(world.target).batch

    base = batch(past)
    recent = batch([*past[:3], [(0, 0, 6)]])
    assert not same_bits(base.window, recent.window)
    old = batch([[(0, 0, 7), (2, 1, 3)], *past[1:]])  # before the window: only the vocabulary remembers it
    assert same_bits(base.window, old.window)
    assert units_of(base, "entity")[0, 0][0] == {1, 2, 5} and units_of(old, "entity")[0, 0][0] == {7, 2, 5}
    forecasts = [forecast(model, changed)[1] for changed in (base, recent, old)]
    assert not same_bits(forecasts[0], forecasts[1]) and not same_bits(forecasts[0], forecasts[2])
