"""New data in the vocabulary of a checkpoint."""

import dataclasses
import warnings
from typing import Any

import numpy as np

from tirgn_eqx.data.clock import with_clock
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.names import places
from tirgn_eqx.errors import DataError, DataWarning


def with_vocabulary(graph: TemporalGraph, described: dict[str, Any]) -> TemporalGraph:
    """`graph` with the entities and relations of a checkpoint, by name, and its clock, so that newer data can be
    forecast from; facts with a name that the checkpoint does not know are left out.

    **Raises:** DataError where there are no names to go by and the sizes differ, where no fact is left, or for another
    step (`with_clock`).
    """
    graph = with_clock(graph, described)
    wanted = [described.get(kind) for kind in ("entities", "relations")]
    if None in wanted or graph.entity_names is None or graph.relation_names is None:
        return graph
    names = [tuple(name) for name in wanted if name is not None]
    if names == [graph.entity_names, graph.relation_names]:
        return graph
    entity, relation = places(graph.entity_names, names[0]), places(graph.relation_names, names[1])
    s, r, o = (ids.astype(np.int32) for ids in (entity[graph.subject], relation[graph.relation], entity[graph.object]))
    kept = (s >= 0) & (r >= 0) & (o >= 0)
    if not kept.all():
        share = 100 * (1 - kept.mean())
        warnings.warn(
            f"{graph.name}: {(~kept).sum():,} of {len(kept):,} facts ({share:.1f} %) name entities or relations that "
            "the checkpoint does not know and are left out; `tirgn retrain` learns them",
            DataWarning,
            stacklevel=2,
        )
    if not kept.any():
        raise DataError(f"{graph.name}: no fact is left that the checkpoint knows the names of; retrain on this data")
    snapshots, snapshot = np.unique(graph.snapshot[kept], return_inverse=True)
    return dataclasses.replace(
        graph,
        subject=s[kept],
        relation=r[kept],
        object=o[kept],
        split=graph.split[kept],
        snapshot=snapshot.astype(np.int32),
        times=graph.times[snapshots],
        num_entities=len(names[0]),
        num_relations=len(names[1]),
        entity_names=names[0],
        relation_names=names[1],
    )
