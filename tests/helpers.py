"""What several test files need: the real datasets, where they are at hand, and small made-up graphs and tables."""

import dataclasses
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import pytest
from hypothesis import strategies as st

from tirgn_eqx.config import FAMILIES, EventTrainingConfig, TrainingConfig, settings_of
from tirgn_eqx.data.graph import StaticGraph, TemporalGraph, from_facts
from tirgn_eqx.models import EventModel, EventRates
from tirgn_eqx.models.tirgn import TiRGN

DATASETS = Path(__file__).resolve().parents[2] / "shared" / "datasets"


def dataset(name: str) -> Path:
    """The path of a real dataset; skips the test where it is not at hand."""
    path = DATASETS / name
    if not path.exists():
        pytest.skip(f"dataset {name} is not at hand in {DATASETS}")
    return path


def make_graph(
    facts: list[tuple[int, int, int, int]] | np.ndarray,
    *,
    num_entities: int,
    num_relations: int,
    valid: int | None = None,
    test: int | None = None,
    **fields,
) -> TemporalGraph:
    """A graph of rows (subject, relation, object, time); in time order, rows from `valid` on are the valid
    split and rows from `test` on the test split (None = no such row), so that a boundary may cut a time."""
    rows = np.asarray(facts, np.int64).reshape(-1, 4)
    rows = rows[np.argsort(rows[:, 3], kind="stable")]
    bounds = [len(rows) if bound is None else bound for bound in (valid, test)]
    split = np.searchsorted(bounds, np.arange(len(rows)), side="right")
    return from_facts("made", rows, split, num_entities, num_relations, **fields)


def facts_of(graph: TemporalGraph) -> np.ndarray:
    """int32 `(fact, 4)`: the rows of which `make_graph` makes the graph, with snapshots for times."""
    return np.stack([graph.subject, graph.relation, graph.object, graph.snapshot], 1)


def with_facts(graph: TemporalGraph, rows: np.ndarray) -> TemporalGraph:
    """A graph of other rows with the sizes of `graph`, whose splits begin at the same rows."""
    valid, test = (int(np.argmax(graph.split > number)) for number in (0, 1))
    sizes = {"num_entities": graph.num_entities, "num_relations": graph.num_relations}
    return make_graph(rows, **sizes, valid=valid, test=test)


def renumbered(graph: TemporalGraph, entities, relations) -> TemporalGraph:
    """The same facts by name, where new id i has the name of the old id `entities[i]`."""
    entity, relation = (np.argsort(order).astype(np.int32) for order in (entities, relations))
    static = graph.static and dataclasses.replace(graph.static, entity=entity[graph.static.entity])
    return dataclasses.replace(
        graph,
        subject=entity[graph.subject],
        relation=relation[graph.relation],
        object=entity[graph.object],
        entity_names=tuple(graph.entity_names[i] for i in entities),
        relation_names=tuple(graph.relation_names[i] for i in relations),
        static=static,
    )


def random_graph(
    seed: int, *, num_entities: int = 8, num_relations: int = 3, num_times: int = 8, facts: int = 6
) -> TemporalGraph:
    """A graph with 1 to 2 * `facts` - 1 facts at each of `num_times` times, half train, a quarter valid and
    test each, both boundaries inside a time where it has facts enough."""
    rng = np.random.default_rng(seed)
    count = rng.integers(1, 2 * facts, num_times)
    total = int(count.sum())
    columns = [rng.integers(0, size, total) for size in (num_entities, num_relations, num_entities)]
    rows = np.stack([*columns, np.repeat(np.arange(num_times), count)], 1)
    ends = np.cumsum(count)

    def inside(time):
        return int(ends[time] - count[time] // 2)

    return make_graph(
        rows,
        num_entities=num_entities,
        num_relations=num_relations,
        valid=inside(num_times // 2),
        test=inside(3 * num_times // 4),
    )


@st.composite
def facts_of_a_graph(
    draw, *, max_entities: int = 5, max_relations: int = 3, max_times: int = 6, max_facts: int = 24
) -> dict:
    """Arguments of `make_graph` for small graphs of every kind: duplicates, self loops, silent entities,
    empty splits, gaps in time. (The graph itself is made in the test: its type checks draw random numbers,
    which Hypothesis forbids in a strategy.)"""
    entities, relations = draw(st.integers(1, max_entities)), draw(st.integers(1, max_relations))

    def below(size):
        return st.integers(0, size - 1)

    fact = st.tuples(below(entities), below(relations), below(entities), below(max_times))
    # Left to itself, a list of at most 24 has 6 entries on average: too few to repeat anything.
    facts = draw(st.lists(fact, min_size=draw(st.integers(1, max_facts)), max_size=max_facts))
    valid, test = sorted(draw(st.tuples(*[st.integers(0, len(facts))] * 2)))
    sizes = {"num_entities": entities, "num_relations": relations}
    return {"facts": facts, "valid": valid, "test": test, **sizes}


def both_directions(graph: TemporalGraph, rows=slice(None)) -> list[tuple[int, ...]]:
    """(subject, relation, object, snapshot) of the facts `rows`, then of their inverses."""
    columns = (graph.subject, graph.relation, graph.object, graph.snapshot)
    facts = [tuple(int(x) for x in fact) for fact in zip(*(column[rows] for column in columns))]
    return facts + [(o, r + graph.num_relations, s, t) for s, r, o, t in facts]


def sorted_facts(graph: TemporalGraph) -> list[tuple[int, ...]]:
    """(split, subject, relation, object, time) of all facts."""
    columns = (graph.split, graph.subject, graph.relation, graph.object, graph.times[graph.snapshot])
    return sorted(zip(*(column.tolist() for column in columns)))


def assert_same_graph(one: TemporalGraph, other: TemporalGraph) -> None:
    """That two graphs hold the same facts, times, names and static edges, in arrays of the same types."""
    for field in ("subject", "relation", "object", "snapshot", "split", "times", "time_index"):
        ours, theirs = getattr(one, field), getattr(other, field)
        assert ours.dtype == theirs.dtype, field
        np.testing.assert_array_equal(ours, theirs, err_msg=field)
    fields = ("num_entities", "num_relations", "time_interval", "clock_origin", "time_unit", "entity_names")
    for field in (*fields, "relation_names", "checksum"):
        assert getattr(one, field) == getattr(other, field), field
    assert (one.static is None) == (other.static is None)
    if one.static is not None and other.static is not None:
        for ours, theirs in zip(dataclasses.astuple(one.static), dataclasses.astuple(other.static)):
            np.testing.assert_array_equal(ours, theirs)


def write_event_table(path: Path, rows: Iterable[tuple]) -> Path:
    """A parquet file of rows (entity1, relation, entity2, timestamp)."""
    import polars as pl

    columns = ["entity1", "relation", "entity2", "timestamp"]
    pl.DataFrame(list(rows), schema=columns, orient="row").write_parquet(path)
    return path


def chain_of_events(days: Iterable[int], names: Sequence[str]) -> list[tuple[str, str, str, int]]:
    """Rows of an event table in which each of five actors acts on the next, in turn in two ways, once a day."""
    return [
        (names[i], ["042_Q1", "190_Q4"][(i + day) % 2], names[(i + 1) % 5], (17_500 + day) * 86_400 + 60 * i)
        for day in days
        for i in range(5)
    ]


def event_model(graph: TemporalGraph, **settings) -> tuple[EventModel, EventTrainingConfig]:
    """Event rates of random weights for `graph`, and their settings."""
    config = EventTrainingConfig(**{"rate_hidden": 4, "periods": "7"} | settings)
    rates = EventRates(graph.num_entities, graph.num_relations, config, key=jax.random.key(0))
    return EventModel(rates, None), config


def prefetching_threads() -> list[threading.Thread]:
    """The threads that build batches ahead."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("tirgn-prefetch")]


def same_bits(a, b) -> bool:
    """Whether two pytrees have equal structure and leaves equal in type, shape and every bit."""
    leaves, others = jax.tree.leaves(a), jax.tree.leaves(b)

    def as_bits(leaf):
        return (str(leaf.dtype), leaf.shape, np.asarray(leaf).tobytes())

    equal = jax.tree.structure(a) == jax.tree.structure(b)
    return equal and all(as_bits(x) == as_bits(y) for x, y in zip(leaves, others))


def close(ours, expected, tolerance: float = 1e-10) -> None:
    """Asserts that float64 numbers are equal up to rounding."""
    ours = np.asarray(ours)
    assert ours.dtype == np.float64
    np.testing.assert_allclose(ours, expected, rtol=tolerance, atol=tolerance)


def normal(seed: int, *shape: int) -> np.ndarray:
    """Standard normal numbers."""
    return np.random.default_rng(seed).normal(size=shape)


def family_config(family: str = "tirgn", **given) -> TrainingConfig:
    """The configuration of a family, with those of the settings that it has."""
    config = FAMILIES[family]
    return config(**{name: value for name, value in given.items() if name in settings_of(config)})


def tiny_config(family: str = "tirgn", **changes) -> TrainingConfig:
    """A model that compiles and runs in no time, in f32 and without dropout."""
    small = {
        "embedding_dim": 8,
        "history_len": 3,
        "num_layers": 1,
        "static_blocks": 2,
        "conv_channels": 3,
        "dropout": 0.0,
        "input_dropout": 0.0,
        "feature_dropout": 0.0,
        "hidden_dropout": 0.0,
        "precision": "f32",
        "remat": "none",
    }
    return FAMILIES[family](**small | changes)


def tiny_model(num_entities: int, num_relations: int, static: StaticGraph | None = None, **changes) -> TiRGN:
    """A model of `tiny_config(**changes)`, initialised in one compilation."""

    def build(key):
        return TiRGN(num_entities, num_relations, tiny_config(**changes), static, key=key)

    return eqx.filter_jit(build)(jax.random.key(0))
