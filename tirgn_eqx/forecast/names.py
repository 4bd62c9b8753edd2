"""Names to ids and back, with a hint where a name is not known."""

import difflib
from collections.abc import Iterable

import numpy as np
from jaxtyping import Int64

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.names import fold_name
from tirgn_eqx.errors import DataError, shown

MAX_SHOWN = 5  # names in a message


class Names:
    """The names of a graph's entities and relations; of data without names, the ids as text.

    A name is looked up exactly as it is. Only where no name matches exactly, case, outer spaces and Unicode form are
    ignored; several names that match then are an error, never one of them. A `kind` is "entity" or "relation".
    """

    def __init__(self, graph: TemporalGraph):
        self.entities = graph.entity_names or tuple(map(str, range(graph.num_entities)))
        self.relations = graph.relation_names or tuple(map(str, range(graph.num_relations)))
        self.of = {"entity": self.entities, "relation": self.relations}
        self._exact = {kind: _ids_by(names) for kind, names in self.of.items()}
        self._folded = {kind: _ids_by(map(fold_name, names)) for kind, names in self.of.items()}

    def entity(self, name: str) -> int:
        """The id of an entity. **Raises:** DataError for a name that is not known, or that several ids match."""
        return self.id("entity", name)

    def relation(self, name: str) -> int:
        """The id of a relation. **Raises:** as `entity`."""
        return self.id("relation", name)

    def ids(self, kind: str, names: Iterable[str]) -> Int64[np.ndarray, " name"]:
        """The ids of many names. **Raises:** as `entity`."""
        return np.array([self.id(kind, name) for name in names], np.int64)

    def id(self, kind: str, name: str) -> int:
        """The id of a name. **Raises:** as `entity`."""
        # An exact name wins, even where another one differs in case alone.
        found = self._exact[kind].get(name) or self._folded[kind].get(fold_name(name))
        if found is None:
            raise DataError(f"{kind} {shown(name)} is not known; {self._hint(kind, fold_name(name))}")
        if len(found) > 1:
            matching = list(dict.fromkeys(self.of[kind][number] for number in found))
            listed = ", ".join(map(shown, matching[:MAX_SHOWN]))
            # Ids of one and the same name: to write it in another way would not help.
            if len(matching) == 1:
                what = f"stands for {len(found)} of them (ids {', '.join(map(str, found[:MAX_SHOWN]))})"
                raise DataError(f"{kind} {shown(name)} {what}; give each a name of its own in the data")
            more = f" and {len(matching) - MAX_SHOWN:,} more" if len(matching) > MAX_SHOWN else ""
            raise DataError(f"{kind} {shown(name)} fits {listed}{more}; give one of them exactly as it is written")
        return found[0]

    def _hint(self, kind: str, name: str) -> str:
        """Which known names are like `name`, a fold_name one."""
        names = self.of[kind]
        parts = [known for known in names if name and name in fold_name(known)][:MAX_SHOWN]
        if parts:
            return f"names with it: {', '.join(map(repr, parts))}"
        like = difflib.get_close_matches(name, self._folded[kind], n=1, cutoff=0.5)
        if like:
            return f"did you mean {names[self._folded[kind][like[0]][0]]!r}?"
        return f"there are {len(names):,} of them"


def _ids_by(names: Iterable[str]) -> dict[str, list[int]]:
    ids: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        ids.setdefault(name, []).append(number)
    return ids
