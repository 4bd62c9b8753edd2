"""What is fuzzed: how a program reads the files of every reader, and what may come of it."""

import datetime as dt
import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tirgn_cli.values import parse_bytes, parse_shape
from tirgn_eqx.checkpoint.models import load_model
from tirgn_eqx.checkpoint.released import import_torch
from tirgn_eqx.checkpoint.training_state import load_training_state
from tirgn_eqx.config import GivenSettings, TiRGNTrainingConfig, parse_assignments
from tirgn_eqx.data import build_history_vocabulary, graph_statistics, load_graph
from tirgn_eqx.data.times import format_snapshot_time
from tirgn_eqx.data.vocabulary import match_checkpoint
from tirgn_eqx.errors import TirgnError
from tirgn_eqx.evaluate import evaluate_scores, open_scores
from tirgn_eqx.forecast.queries import read_queries
from tirgn_eqx.gdelt.feed import FEEDS, ListedFile, iterate_lines, parse_span, parse_time, read_lists
from tirgn_eqx.gdelt.verified import VerifiedFiles
from tirgn_eqx.ingest.api import ingest
from tirgn_eqx.storage.download import checked_url, zip_trouble
from tools.fuzz import shared_folders
from tools.fuzz.seeds import MODEL, OPTIMIZER, SEEDS, golden, identity, raw_rows, score_graph, write

__all__ = ["ACTS", "SEEDS", "SHARES", "attempt", "write"]

# Of 28,500 inputs.
SHARES = {
    **{"folder": 2000, "mapped": 1500, "events": 2000, "checkpoint": 2500, "state": 1500, "settings": 3000},
    **{"options": 2500, "lists": 2000, "raw": 1500, "table": 1000, "record": 1500, "packed": 1000, "weights": 1000},
    **{"queries": 1000, "scores": 1000, "tgb": 2000, "study": 1500, "tables": 2000},
}


def _only(place: Path) -> Path:
    """The one file or folder in `place`."""
    return next(iter(place.iterdir()))


def _load(place: Path, num_days: int | None = None) -> None:
    graph = load_graph(place) if num_days is None else load_graph(place, num_days=num_days)
    json.dumps(graph_statistics(graph))
    for snapshot in (0, graph.num_snapshots - 1):
        format_snapshot_time(graph, snapshot)


def _load_mapped(place: Path) -> None:
    graph = load_graph(place)
    build_history_vocabulary(graph).entity.lookup(np.arange(4), graph.num_snapshots, 2)
    _load(place)


def _rank(place: Path) -> None:
    file, data = open_scores(_only(place)), score_graph()
    graph = match_checkpoint(data, file.metadata(data), "the scores")
    evaluate_scores(file, graph, filter="all").report()


def _configure(place: Path) -> None:
    for file in place.iterdir():
        GivenSettings(file=file).config().to_toml()


def _parse(place: Path) -> None:
    """Everything that reads a word of the command line; the last refusal counts."""
    text = _only(place).read_bytes().decode("utf-8", "replace").replace("\0", "")
    readers: list[Callable[[str], object]] = [
        lambda text: TiRGNTrainingConfig().replace(**parse_assignments([text])),
        *(parse_bytes, parse_shape, checked_url, parse_span, parse_time),
        lambda text: load_graph(text) if _is_small(text) else None,
    ]
    last: TirgnError | None = None
    for reader in readers:
        try:
            reader(text)
        except TirgnError as error:
            last = error
    if last is not None:
        raise last


def _is_small(text: str) -> bool:
    """Whether reading it simulates no large world: one as large as its user wants is no fault, without limits it is."""
    return not any(len(number) > 3 for number in re.findall("[0-9_]+", text)) or "9999" in text


def _list(place: Path) -> None:
    span = dt.datetime(2019, 1, 1, tzinfo=dt.UTC), dt.datetime(2021, 1, 1, tzinfo=dt.UTC)
    feed = FEEDS["v2" if (place / "masterfilelist.txt").exists() else "v1"]
    files = [(place / path.rpartition("/")[2]).open("rb") for path in feed.lists]
    try:
        json.dumps([vars(line) for line in read_lists(feed, [iterate_lines(file) for file in files], *span).shown])
    finally:
        for file in files:
            file.close()


def _ingest(place: Path) -> None:
    for unreadable in ingest([place], place / "made.parquet").files.unreadable:
        assert unreadable.reason.isprintable(), unreadable


def _ingest_again(place: Path) -> None:
    (place / "b.export.CSV").write_bytes(raw_rows(5).replace(b"100", b"200"))
    ingest([place / "b.export.CSV"], place / "events.parquet")


def _verify(place: Path) -> None:
    write({"a.zip": b"abc", "b.zip": b""}, place)
    verified = VerifiedFiles.load(place / "collected.json")
    for name in ("a.zip", "b.zip"):
        verified.matches(place / name, ListedFile(dt.datetime.now(dt.UTC), None, "0" * 32))
    verified.save(place / "collected.json")


def _unpack(place: Path) -> None:
    for file in place.iterdir():
        assert zip_trouble(file).isprintable()


def _import(place: Path) -> None:
    settings = {"static_graph": False, "history_len": 3}
    import_torch(_only(place), golden()[0], place / "out.npz", settings)


ACTS: dict[str, Callable[[Path], object]] = {
    "folder": _load,
    "mapped": _load_mapped,
    "events": lambda place: _load(place / "events.parquet", num_days=0),
    "tables": lambda place: _load(next(iter(place.glob("a*"))), num_days=0),
    "checkpoint": lambda place: load_model(place / "m.npz"),
    "state": lambda place: load_training_state(place, MODEL, OPTIMIZER, identity()),
    "settings": _configure,
    "options": _parse,
    "lists": _list,
    "raw": _ingest,
    "table": _ingest_again,
    "record": _verify,
    "packed": _unpack,
    "weights": _import,
    "queries": lambda place: read_queries(_only(place)).rows(),
    "scores": _rank,
    "tgb": shared_folders.load_tgb,
    "study": shared_folders.go_on,
}


def attempt(reader: str, place: Path) -> tuple[str, str]:
    """What became of the files in `place`: `read`, or the class of the error that refused them, and its message.

    **Raises:** whatever is no error that the library raises on purpose, and AssertionError for a message of another
    form than one line without control characters.
    """
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            ACTS[reader](place)
            outcome, message = "read", ""
        except TirgnError as error:
            outcome, message = type(error).__name__, str(error)
            assert message and message.isprintable() and len(message) < 2500, f"no message of one line: {message!r}"
    for warning in warned:
        text = str(warning.message)
        assert text.isprintable() or "tirgn" not in warning.filename, f"no warning of one line: {warning}"
    return outcome, message
