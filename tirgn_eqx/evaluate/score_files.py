"""Files of scores: what a model says of every candidate of a query, written for other tools and read from them.

Every row names a query by the columns `subject`, `relation`, `object` and `time`; of subject and object, the part that
is predicted is empty. Three forms say what the model makes of it:

- `scores`: a list with one score for every entity, in the order of the ids.
- `candidate`, `score`: one candidate; those that no row lists count as lowest, tied. A query of which nothing is known
  has one row, without a candidate.
- `answer`, `rank`: the rank of an answer, as the other tool found it.

Parquet files hold names or ids, and may hold the vocabulary whose ids they mean. An npz file holds the same columns as
arrays of numbers, with -1 for the part that is predicted.
"""

import os
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, ValidationError

from tirgn_eqx.data.clock import describe_clock
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.vocabulary import describe_vocabulary
from tirgn_eqx.errors import DataError
from tirgn_eqx.evaluate.results import Document
from tirgn_eqx.storage import npz
from tirgn_eqx.storage.table_probe import check_parquet
from tirgn_eqx.storage.untrusted import BROKEN, Unsound, check_regular, told

if TYPE_CHECKING:
    import polars as pl

Form = Literal["scores", "candidates", "ranks"]
QUERY = ("subject", "relation", "object", "time")
FORMS: dict[Form, tuple[str, ...]] = {
    "scores": ("scores",),
    "candidates": ("candidate", "score"),
    "ranks": ("answer", "rank"),
}
VOCABULARY = "tirgn.vocabulary"  # the key of the metadata of a parquet file
PARQUET = (".parquet", ".pq")
_NEED = f"give parquet or npz with {', '.join(QUERY)}, and with scores, or candidate and score, or answer and rank"


class ScoredVocabulary(Document):
    """The ids of a file of scores, as `describe_vocabulary` tells them."""

    num_entities: int = Field(..., gt=0)
    num_relations: int = Field(..., gt=0)
    entities: list[str] | None = None
    relations: list[str] | None = None


@dataclass(frozen=True)
class ScoreFile:
    """A file of scores, which says nothing of a graph yet.

    - `form`: see `FORMS`.
    - `columns`: a polars DataFrame of those of `QUERY` and of the form, without `scores`.
    - `read_scores(begin, end)`: the scores of these rows, `(row, candidate)`; only of the form "scores".
    - `vocabulary`: of the file, None where its ids are those of the data.
    """

    path: Path
    form: Form
    columns: "pl.DataFrame"
    read_scores: Callable[[int, int], np.ndarray] | None = None
    vocabulary: ScoredVocabulary | None = None

    def metadata(self, graph: TemporalGraph) -> dict[str, object]:
        """What `match_checkpoint` needs to give `graph` the ids that the file means: its own, or those of `graph`."""
        own = describe_vocabulary(graph) if self.vocabulary is None else self.vocabulary.model_dump()
        return {**own, "data": describe_clock(graph)}


def is_score_file(path: Path) -> bool:
    """Whether a file is to be read as scores and not as a checkpoint, by its name and, of an npz, by its members."""
    if path.suffix.lower() in PARQUET:
        return True
    if path.suffix.lower() != ".npz" or not os.path.isfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return "subject.npy" in archive.namelist()
    except BROKEN:
        return False


def open_scores(path: str | Path) -> ScoreFile:
    """Open a file of scores.

    **Raises:** DataError for a file that is missing, damaged, or has other columns.
    """
    import polars as pl

    path = Path(path)
    try:
        if path.suffix.lower() in PARQUET:
            return _open_parquet(path)
        if path.suffix.lower() == ".npz":
            return _open_npz(path)
    except (pl.exceptions.PolarsError, Unsound, *BROKEN) as error:
        raise DataError(f"{path}: no scores that can be read ({told(error)[:300]}); {_NEED}") from error
    raise DataError(f"{path}: its name ends in {path.suffix or 'nothing'}; {_NEED}")


def _open_parquet(path: Path) -> ScoreFile:
    import polars as pl

    described = check_parquet(path, [*QUERY, *(name for names in FORMS.values() for name in names)])
    form = _form(path, list(described.columns))
    names = [*QUERY, *(name for name in FORMS[form] if name != "scores")]
    with path.open("rb") as file:  # polars takes no path whose bytes are not UTF-8
        columns = pl.read_parquet(file, columns=names)
    vocabulary = None
    if (text := described.metadata.get(VOCABULARY)) is not None:
        try:
            vocabulary = ScoredVocabulary.model_validate_json(text)
        except ValidationError as error:
            raise Unsound(f"its {VOCABULARY} is damaged") from error
    if form != "scores":
        return ScoreFile(path, form, columns, None, vocabulary)
    kind = described.columns["scores"]
    if not re.match(r"(List|Array)\((Float|U?Int)\d", kind):
        raise Unsound(f"column scores has type {kind[:80]}, expected a list of numbers in every row")

    def read_scores(begin: int, end: int) -> np.ndarray:
        # Not `read_parquet`, which has no slices. The pattern of a path is switched off, as it may hold a `*`.
        scan = pl.scan_parquet(path, glob=False, hive_partitioning=False).select("scores").slice(begin, end - begin)
        rows = scan.collect().to_series()
        rows = rows if isinstance(rows.dtype, pl.List) else rows.arr.to_list()
        lengths = rows.list.len().fill_null(0).to_numpy()
        if len(lengths) and (odd := lengths != lengths[0]).any():
            row = int(odd.argmax())
            raise DataError(
                f"{path}: row {begin + row + 1:,} has {lengths[row]:,} scores and row {begin + 1:,} has "
                f"{lengths[0]:,}; give one for every entity"
            )
        if not len(lengths) or not lengths[0]:
            return np.zeros((len(lengths), 0))
        return rows.explode().to_numpy().reshape(len(lengths), -1)

    return ScoreFile(path, form, columns, read_scores, vocabulary)


def _open_npz(path: Path) -> ScoreFile:
    import polars as pl

    check_regular(path)
    with zipfile.ZipFile(path) as archive:
        packed = any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist())
    # Arrays that are not compressed stay on the disk until they are read.
    arrays = npz.read_arrays(path.read_bytes(), packed=True) if packed else npz.read_arrays(npz.mapped(path))
    form = _form(path, list(arrays))
    names = [*QUERY, *FORMS[form]]
    shapes = {name: arrays[name].shape for name in names}
    rows = len(arrays["time"]) if arrays["time"].ndim == 1 else -1
    for name, shape in shapes.items():
        if len(shape) != (2 if name == "scores" else 1) or shape[0] != rows:
            what = "[row, entity]" if name == "scores" else "[row]"
            raise Unsound(f"array {name} has shape {list(shape)}, expected {what}, with as many rows as all others")
    columns = pl.DataFrame({name: np.ascontiguousarray(arrays[name]) for name in names if name != "scores"})
    scores = arrays.get("scores")
    return ScoreFile(path, form, columns, None if scores is None else lambda begin, end: scores[begin:end])


def _form(path: Path, columns: list[str]) -> Form:
    """The form that the columns of a file have."""
    missing = [name for name in QUERY if name not in columns]
    found: list[Form] = [form for form, names in FORMS.items() if all(name in columns for name in names)]
    if missing or not found:
        have = ", ".join(columns[:12])[:300] or "none"
        what = f"missing columns {', '.join(missing)}" if missing else "no scores and no ranks"
        raise DataError(f"{path}: {what} (found {have}); {_NEED}")
    if len(found) > 1:
        both = " and ".join(", ".join(FORMS[form]) for form in found)
        raise DataError(f"{path}: has the columns {both}, which are two ways to say it; leave one out")
    return found[0]
