"""Names to ids and back, with a helpful word where a name is not known."""

import difflib
from collections.abc import Iterable

import numpy as np

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.names import fold_name
from tirgn_eqx.errors import DataError, shown

MOST_SHOWN = 5  # names in a message


class Names:
    """The names of a graph's entities and relations; of data without names, the ids as text.

    A name that a user gives is looked up exactly as it is. Only where no name is exactly that one, case, outer spaces
    and Unicode form do not matter; several names that then fit are an error, never one of them.
    """

    def __init__(self, graph: TemporalGraph):
        numbered = lambda size: tuple(str(number) for number in range(size))
        self.entities = graph.entity_names or numbered(graph.num_entities)
        self.relations = graph.relation_names or numbered(graph.num_relations)
        self._names = {"entity": self.entities, "relation": self.relations}
        self._exact = {kind: _ids_by(names) for kind, names in self._names.items()}
        self._folded = {kind: _ids_by(map(fold_name, names)) for kind, names in self._names.items()}

    def entity(self, name: str) -> int:
        """The id of an entity. **Raises:** DataError for a name that is not known, or that several ids fit."""
        return self._id("entity", name)

    def relation(self, name: str) -> int:
        """The id of a relation. **Raises:** as `entity`."""
        return self._id("relation", name)

    def of(self, kind: str) -> tuple[str, ...]:
        """The names of a kind, "entity" or "relation", by id."""
        return self._names[kind]

    def ids(self, kind: str, names: list[str]) -> np.ndarray:
        """int64: the ids of many names."""
        return np.array([self._id(kind, name) for name in names], np.int64)

    def _id(self, kind: str, name: str) -> int:
        found = self._exact[kind].get(name) or self._folded[kind].get(fold_name(name))
        if found is None:
            raise DataError(f"{kind} {shown(name)} is not known; {self._hint(kind, fold_name(name))}")
        if len(found) > 1:
            names = self._names[kind]
            fitting = list(dict.fromkeys(names[number] for number in found))
            listed = ", ".join(map(shown, fitting[:MOST_SHOWN]))
            if len(fitting) == 1:
                what = f"stands for {len(found)} of them (ids {', '.join(map(str, found[:MOST_SHOWN]))})"
                raise DataError(f"{kind} {shown(name)} {what}; give each a name of its own in the data")
            more = f" and {len(fitting) - MOST_SHOWN:,} more" if len(fitting) > MOST_SHOWN else ""
            raise DataError(f"{kind} {shown(name)} fits {listed}{more}; give one of them exactly as it is written")
        return found[0]

    def _hint(self, kind: str, plain: str) -> str:
        """What is known that is like `plain`, a folded name."""
        names = self._names[kind]
        parts = [known for known in names if plain and plain in fold_name(known)][:MOST_SHOWN]
        if parts:
            return f"names with it: {', '.join(map(repr, parts))}"
        like = difflib.get_close_matches(plain, self._folded[kind], n=1, cutoff=0.5)
        if like:
            return f"did you mean {names[self._folded[kind][like[0]][0]]!r}?"
        return f"there are {len(names):,} of them"


def _ids_by(names: Iterable[str]) -> dict[str, list[int]]:
    """The ids of every name."""
    ids: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        ids.setdefault(name, []).append(number)
    return ids
