"""Data of any form converted to a folder of text or an event table, with splits cut by time."""

import dataclasses
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np

from tirgn_eqx.data.graph import SPLITS, LoadOptions, TemporalGraph
from tirgn_eqx.data.readers.events import split_by_snapshot
from tirgn_eqx.data.readers.load import load_graph
from tirgn_eqx.data.readers.regcn_text import read_unsplit
from tirgn_eqx.data.times import parse_snapshot_time
from tirgn_eqx.data.writers import check_free, write_events, write_folder
from tirgn_eqx.errors import ConfigError, DataError, shown

TABLE_SUFFIXES = (".parquet", ".pq")
_log = logging.getLogger(__name__)


def convert_data(
    path: object, out: str | Path, *, split: str | None = None, force: bool = False, **options: Any
) -> TemporalGraph:
    """Write the data at `path` as a folder (`write_folder`) or, where `out` ends in `.parquet`, as an event table.

    **Arguments:**

    - `path`: as for `load_graph`; also a folder in the RE-GCN text format whose splits cannot be used, because they
      overlap in time, one is missing, or there is no `stat.txt`.
    - `out`: the folder, or the file of the table (`write_events`).
    - `split`: how facts are cut by time, see `cut_by_time`; None keeps the splits that the data have, and cuts by
      80/10/10 where those cannot be used.
    - `force`: replace what is at `out`, if it is of the same form.
    - `options`: of `load_graph`.

    **Returns:** the graph that was written.

    **Raises:** DataError, ConfigError as `load_graph`, `cut_by_time`, `write_folder` and `write_events`.
    """
    place = Path(os.path.expanduser(out))
    to_table = place.suffix.lower() in TABLE_SUFFIXES
    if to_table and split is not None:
        raise ConfigError(
            f"split {split}: an event table has no splits; reading it cuts 80, 10 and 10 % of its snapshots"
        )
    if to_table and options.get("static_words"):
        raise ConfigError(
            f"static_words {options['static_words']}: an event table holds no static graph; write a folder, or leave "
            "it out"
        )
    if isinstance(path, str | Path) and os.path.exists(place) and os.path.exists(os.path.expanduser(path)):
        # Compared as files, not as text: a link or another spelling may name the same place, which would be replaced.
        if os.path.samefile(place, os.path.expanduser(path)):
            raise ConfigError(f"{out}: is what is converted; name another place")
    # Checked before the data are read, so that a mistake in --out or --split does not show after a long read only.
    check_free(place, not to_table, force)
    if split is not None:
        _parse_split(split)
    graph = _load(path, options)
    # An empty split means that `read_unsplit` has put all facts into train.
    if split is not None or not all(graph.split_counts.sum(1)):
        graph = cut_by_time(graph, split)
    (write_events if to_table else write_folder)(graph, place, force=force)
    return graph


def _load(path: object, options: LoadOptions) -> TemporalGraph:
    """As `load_graph`; facts in text form whose splits cannot be used are all in train."""
    try:
        return load_graph(path, **options)
    except DataError as error:
        place = Path(os.path.expanduser(path)) if isinstance(path, str | Path) else None
        if place is None or not _holds_facts(place):
            raise
        # A message says what is wrong, then after the first semicolon what to do, which does not apply here.
        reason = str(error).split("; ")[0]
    # Faults other than those of the splits are raised again here.
    graph = read_unsplit(place)
    if place.is_dir():
        _log.info("the splits of %s are not used: %s", place, reason)
    return graph


def _holds_facts(place: Path) -> bool:
    """Whether there are facts in text form: in a folder, or in a `.txt` file."""
    if place.is_dir():
        return any(os.path.lexists(place / f"{split}.txt") for split in SPLITS)
    return place.is_file() and place.suffix.lower() == ".txt"


def cut_by_time(graph: TemporalGraph, split: str | None = None) -> TemporalGraph:
    """`graph` with other splits: whole snapshots, the earliest for train, the latest for test.

    **Arguments:** `split`: the shares of the snapshots in percent (None: `80/10/10`), or the times at which valid and
    test begin, `2018-09-01/2018-10-01`, in the form that the times of the graph have. Each split gets at least one
    snapshot.

    **Raises:** ConfigError for what is neither; DataError where a split would have no facts.
    """
    parts = _parse_split(split or "80/10/10")
    if len(parts) == 3:
        train, valid, test = map(int, parts)
        of_snapshot = split_by_snapshot(graph.times, graph.name, (train, valid, test))
    else:
        begins = [parse_snapshot_time(graph, part) for part in parts]
        if begins[0] >= begins[1]:
            raise ConfigError(f"split {split}: valid begins at {parts[0]}, but must begin before test, at {parts[1]}")
        # From the right: a snapshot at the very time at which valid begins is in valid.
        of_snapshot = np.searchsorted(begins, graph.times, side="right").astype(np.int8)
        for number, name in enumerate(SPLITS):
            if not (of_snapshot == number).any():
                raise DataError(
                    f"{graph.name}: no facts for {name} when valid begins at {parts[0]} and test at {parts[1]}; give "
                    "times between those of its facts"
                )
    # Without provenance: loading the source again would give its own splits, not these.
    return dataclasses.replace(graph, split=of_snapshot[graph.snapshot], provenance={})


def _parse_split(split: str) -> list[str]:
    """Three shares or two times, as text. **Raises:** ConfigError for what is neither."""
    parts = [part.strip() for part in split.split("/")]
    # A part that is no share becomes -1; it may still be a time.
    shares = [int(part) if part.isascii() and part.isdecimal() and len(part) < 4 else -1 for part in parts]
    if len(parts) == 3 and min(shares) > 0 and sum(shares) == 100:
        return parts
    if len(parts) == 2 and all(parts):
        return parts
    raise ConfigError(
        f"split {shown(split)}: give the shares of train, valid and test in percent, like 80/10/10, or the times at "
        "which valid and test begin, like 2018-09-01/2018-10-01"
    )
