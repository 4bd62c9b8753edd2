"""The golden inputs as a graph, a model and a batch; shared by the golden tests."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from tirgn_eqx.checkpoint.released import model_from_state_dict
from tirgn_eqx.config import TiRGNTrainingConfig
from tirgn_eqx.data.batches.graph_loader import GraphLoader, GraphOptions
from tirgn_eqx.data.graph import StaticGraph, TemporalGraph, from_facts
from tirgn_eqx.data.index.history import build_history_vocabulary
from tirgn_eqx.models.tirgn import TiRGN
from tirgn_eqx.types import Batch, Queries

FOLDER = Path(__file__).parent / "golden"
NO_DROPOUT = {"dropout": 0.0, "input_dropout": 0.0, "feature_dropout": 0.0, "hidden_dropout": 0.0}


class Golden(NamedTuple):
    numbers: dict[str, np.ndarray]
    config: TiRGNTrainingConfig
    graph: TemporalGraph
    model: TiRGN
    batch: Batch

    @property
    def queries(self) -> tuple[Queries, Queries]:
        """Entity and relation questions without the micro axis."""
        both = (self.batch.entity_queries, self.batch.relation_queries)
        return jax.tree.map(lambda x: x[0], both)

    @property
    def window(self):
        return self.batch.window


def golden_graph(numbers: dict[str, np.ndarray]) -> TemporalGraph:
    """Steps 0 to 6 train, 7 valid, 8 test."""
    facts = numbers["all_facts"]
    step = facts[:, 3] // numbers["cfg/time_interval"]
    static = None
    if numbers["cfg/use_static"]:
        entity, relation, word = numbers["static_triples_local"].T.astype(np.int32)
        static = StaticGraph(entity, relation, word, 3, 6)
    split = np.select([step < 7, step == 7], [0, 1], 2)
    return from_facts("golden", facts, split, 17, 5, static=static)


def load_golden(name: str, dtype: Any) -> Golden:
    """Case `static` or `plain`, weights in `dtype`."""
    with np.load(FOLDER / f"{name}.npz") as archive:
        numbers = dict(archive)
    config = TiRGNTrainingConfig(
        embedding_dim=8,
        history_len=3,
        num_layers=int(numbers["cfg/num_layers"]),
        static_blocks=4,
        history_window=0,
        batch_size=0,
        precision="f64" if dtype == np.float64 else "f32",
        remat="none",
        **NO_DROPOUT,
    )
    graph = golden_graph(numbers)
    state = {
        name.removeprefix("state/"): value.astype(dtype) if value.dtype.kind == "f" else value
        for name, value in numbers.items()
        if name.startswith("state/")
    }
    model = model_from_state_dict(state, graph, config)
    loader = GraphLoader(graph, build_history_vocabulary(graph), "test", GraphOptions(history_len=3, with_truth=True))
    return Golden(numbers, config, graph, model, loader.build(8).batch)
