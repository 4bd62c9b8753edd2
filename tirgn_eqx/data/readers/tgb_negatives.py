"""The negatives of TGB 2.0: for every query, the candidates that its answers are ranked among."""

import os.path
from pathlib import Path
from typing import TypeVar

import numpy as np

from tirgn_eqx.data.graph import SPLITS, TemporalGraph, both_directions
from tirgn_eqx.data.readers.pickled_arrays import read_entries
from tirgn_eqx.errors import DataError
from tirgn_eqx.storage.untrusted import Unsound

_Ids = TypeVar("_Ids", int, np.ndarray)
_FILES = {"valid": "val", "test": "test"}  # TGB's names of the splits


class TGBNegatives:
    """The candidates of every query of one split, from `NAME_val_ns.pkl` or `NAME_test_ns.pkl` beside the facts.

    The pickle is read without unpickling, see `read_entries`: nothing in it is run.

    **Arguments:** `graph`: as `read_tgb` gives it; `split`: "valid" or "test".

    **Raises:** DataError for a file that is missing or does not fit these facts.
    """

    def __init__(self, graph: TemporalGraph, split: str):
        self.graph, self.split = graph, split
        self.path = Path(graph.provenance["path"]) / f"{graph.name}_{_FILES[split]}_ns.pkl"
        keys, self._candidates = [], []
        if not os.path.lexists(self.path):
            raise DataError(f"{self.path}: file is missing; the negatives of {graph.name} come with its facts")
        try:
            for key, values in read_entries(self.path):
                keys.append(self._to_code(key))
                if len(values) and not 0 <= int(values.min()) <= int(values.max()) < graph.num_entities:
                    raise DataError(
                        f"{self.path}: a candidate of {key} is none of the {graph.num_entities:,} entities; give the "
                        "negatives of these facts"
                    )
                # Half the memory of int64; ids fit, as they are below the number of entities.
                self._candidates.append(values.astype(np.int32))
        except Unsound as error:
            raise DataError(f"{self.path}: {error}; fetch the file again") from error
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read ({error.strerror}); check its permissions") from error
        codes = np.array(keys, np.int64)
        self._order = np.argsort(codes, kind="stable")
        # A last code greater than all, so that every query has a place.
        self._codes = np.append(codes[self._order], np.iinfo(np.int64).max)
        if (np.diff(self._codes) == 0).any():
            raise DataError(f"{self.path}: holds a query twice; fetch the file again")

    def _to_code(self, key: tuple[int, ...]) -> int:
        """A query (time, subject, relation) as one number. **Raises:** DataError for one that is not of these facts."""
        graph = self.graph
        if len(key) == 3:
            time, subject, relation = key
            # A number beyond int64 cannot be searched for.
            snapshot = int(np.searchsorted(graph.times, time)) if abs(time) < 2**62 else len(graph.times)
            exists = snapshot < len(graph.times) and int(graph.times[snapshot]) == time
            if exists and 0 <= subject < graph.num_entities and 0 <= relation < 2 * graph.num_relations:
                return self._join(snapshot, subject, relation)
        raise DataError(
            f"{self.path}: {key} is no query (time, entity, relation) about these facts; give their own negatives"
        )

    def _join(self, snapshot: int, subject: _Ids, relation: _Ids) -> _Ids:
        """Queries as numbers in mixed radix: the snapshot, then the subject, then the relation or its inverse."""
        return (snapshot * self.graph.num_entities + subject) * 2 * self.graph.num_relations + relation

    def __call__(self, snapshot: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """int64 (subject, relation, candidate) of all queries of the split at `snapshot`.

        **Raises:** DataError for a query without candidates.
        """
        graph = self.graph
        rows = np.arange(*graph.offsets[snapshot : snapshot + 2].tolist())
        subject, relation, _ = both_directions(graph, rows[graph.split[rows] == SPLITS.index(self.split)])
        queries = np.unique(self._join(snapshot, subject, relation))
        # Codes are sorted and distinct: the place of a query is its own or, where it is missing, another code's.
        place = np.searchsorted(self._codes, queries)
        missing = queries[self._codes[place] != queries]
        if len(missing):
            pair, relation = divmod(int(missing[0]), 2 * graph.num_relations)
            raise DataError(
                f"{self.path}: no candidates for the query ({int(graph.times[snapshot])}, "
                f"{pair % graph.num_entities}, {relation}); give the negatives of these facts"
            )
        candidates = [self._candidates[number] for number in self._order[place].tolist()]
        # The reverse of `_join`; a pair is snapshot * entities + subject.
        pair, relation = np.divmod(np.repeat(queries, [len(values) for values in candidates]), 2 * graph.num_relations)
        return pair % graph.num_entities, relation, np.concatenate(candidates).astype(np.int64)

    @property
    def sizes(self) -> tuple[int, int]:
        """The fewest and the most candidates of a query."""
        lengths = [len(values) for values in self._candidates] or [0]
        return min(lengths), max(lengths)
