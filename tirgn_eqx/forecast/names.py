"""Names to ids and back, with a helpful word where a name is not known."""

import difflib

import numpy as np

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.errors import DataError


class Names:
    """The names of a graph's entities and relations; of data without names, the ids as text."""

    def __init__(self, graph: TemporalGraph):
        numbered = lambda size: tuple(str(number) for number in range(size))
        self.entities = graph.entity_names or numbered(graph.num_entities)
        self.relations = graph.relation_names or numbered(graph.num_relations)
        self._ids = {
            kind: {_plain(name): number for number, name in enumerate(names)}
            for kind, names in (("entity", self.entities), ("relation", self.relations))
        }

    def entity(self, name: str) -> int:
        """The id of an entity. **Raises:** DataError for a name that is not known."""
        return self._id("entity", name)

    def relation(self, name: str) -> int:
        """The id of a relation. **Raises:** DataError for a name that is not known."""
        return self._id("relation", name)

    def ids(self, kind: str, names: list[str]) -> np.ndarray:
        """int64: the ids of many names."""
        return np.array([self._id(kind, name) for name in names], np.int64)

    def _id(self, kind: str, name: str) -> int:
        found = self._ids[kind].get(_plain(name))
        if found is None:
            names = self.entities if kind == "entity" else self.relations
            parts = [known for known in names if _plain(name) and _plain(name) in _plain(known)][:5]
            like = difflib.get_close_matches(_plain(name), self._ids[kind], n=1, cutoff=0.5)
            hint = f"there are {len(names):,} of them"
            if parts:
                hint = f"names with it: {', '.join(map(repr, parts))}"
            elif like:
                hint = f"did you mean {names[self._ids[kind][like[0]]]!r}?"
            raise DataError(f"{kind} {name!r} is not known; {hint}")
        return found


def _plain(name: str) -> str:
    """A name as it is compared: case and outer spaces do not matter."""
    return name.strip().casefold()
