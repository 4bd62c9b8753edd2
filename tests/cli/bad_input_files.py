"""Files for the table of bad inputs: sound ones, and functions that damage them."""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.random as jr
import numpy as np
import polars as pl

from tests.helpers import event_model
from tirgn_eqx.checkpoint.files import load_checkpoint, save_checkpoint
from tirgn_eqx.checkpoint.models import save_model
from tirgn_eqx.config import EvidenceTrainingConfig, TiRGNTrainingConfig
from tirgn_eqx.data import load_graph, map_data
from tirgn_eqx.models import build_model

GOLDEN = Path(__file__).parents[1] / "golden" / "plain.npz"
HEADER = "entity1,relation,entity2,timestamp"
Make = Callable[[Path], Any]


def nothing(place: Path) -> None:
    """Leave the files as they are."""


def text(name: str, content: str | bytes) -> Make:
    return lambda place: (place / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def line(name: str, content: str) -> Make:
    """The file with one line more."""
    return lambda place: (place / name).write_bytes((place / name).read_bytes() + content.encode())


def parts(place: Path, *names: str) -> None:
    """A folder `a` with such files."""
    (place / "a").mkdir()
    for name in names:
        text(f"a/{name}", HEADER)(place)


def journal(content: str) -> Make:
    """A folder `journal` of one file."""
    return lambda place: ((place / "journal").mkdir(), text("journal/forecasts-2026-01-01.jsonl", content)(place))


def tgb(name: str, content: str) -> Make:
    """A folder `tgb` with one file."""
    return lambda place: ((place / "tgb").mkdir(), text(f"tgb/{name}", content)(place))


def negatives(content: bytes | None) -> Make:
    """A folder `wiki` in the form of tkgl-wikidata, with negatives of its test split, and a `model.npz` of it."""

    def make(place: Path) -> None:
        rows = [f"{t},Q{s},Q{(s + 1) % 6},P{t % 2}" for t in range(20) for s in range(6)]
        text_of = "\n".join(["timestamp,head,tail,relation", *rows])
        (place / "wiki").mkdir()
        text("wiki/tkgl-wikidata_edgelist.csv", text_of)(place)
        graph, config = load_graph(place / "wiki"), TiRGNTrainingConfig(embedding_dim=4, conv_channels=2, num_layers=1)
        save_model(place / "model", build_model(6, 2, config, key=jr.key(0)), config, graph)
        if content is not None:
            text("wiki/tkgl-wikidata_test_ns.pkl", content)(place)

    return make


def gdelt(quotes: bool = False) -> str:
    """Two lines of GDELT's width, whose values are in quotes, or whose times were rounded."""
    values = {0: "1", 1: "20200101", 25: "1", 26: "010", 29: "1", 30: "3.4", 31: "4", 34: "1.5", 59: "2.02E+13"}
    fields = [values.get(column, "") for column in range(61)]
    return 2 * ("\t".join(f'"{field}"' if quotes else field for field in fields) + "\n")


def tarred(place: Path) -> None:
    """`a.tar.gz`."""
    with tarfile.open(place / "a.tar.gz", "w:gz") as archive:
        archive.add(place / "data", "data")


def table(**columns: Any) -> Make:
    """`events.parquet` with other columns; None: without."""

    def make(place: Path) -> None:
        frame = events().with_columns(**{name: value for name, value in columns.items() if value is not None})
        frame.drop([name for name, value in columns.items() if value is None]).write_parquet(place / "events.parquet")

    return make


def of_events(*actors: str, then: Make = nothing) -> Make:
    """`model.npz` of a table of events with these four actors. `then`: a change to the files after its training."""

    def make(place: Path) -> None:
        names = [actors[number % 4] for number in range(10)]
        table(entity1=pl.Series(names), entity2=pl.Series(names[::-1]))(place)
        graph, config = load_graph(place / "events.parquet"), TiRGNTrainingConfig(embedding_dim=4, conv_channels=2)
        save_model(place / "model", build_model(4, 1, config, key=jr.key(0)), config, graph).with_suffix(
            ".json"
        ).unlink()
        then(place)

    return make


def rates(metrics: dict[str, Any] | None = None, then: Make = nothing) -> Make:
    """`events.npz`, an event model of `events.parquet`, with these metrics."""

    def make(place: Path) -> None:
        graph = load_graph(place / "events.parquet", num_days=0)
        save_model(place / "events", *event_model(graph), graph, metrics)
        then(place)

    return make


def of_evidence(**metrics: Any) -> Make:
    """`model.npz` of an evidence model, with such metrics."""

    def make(place: Path) -> None:
        graph, config = load_graph(place / "data"), EvidenceTrainingConfig(embedding_dim=4, evidence_background=False)
        save_model(place / "model", build_model(6, 2, config, key=jr.key(0)), config, graph, metrics=metrics)
        (place / "model.json").unlink()

    return make


def described(**changes: Any) -> Make:
    """`model.npz` with other metadata."""

    def make(place: Path) -> None:
        found = load_checkpoint(place / "model.npz")
        config = {"config": found.metadata["config"] | changes.pop("config")} if "config" in changes else {}
        save(place, found.arrays, found.metadata | changes | config)

    return make


def weights(change: Callable[[dict[str, np.ndarray]], Any]) -> Make:
    """`model.npz` with other arrays."""

    def make(place: Path) -> None:
        found = load_checkpoint(place / "model.npz")
        change(found.arrays)
        save(place, found.arrays, found.metadata)

    return make


def save(place: Path, arrays: Any, metadata: Any) -> None:
    save_checkpoint(place / "model.npz", arrays, metadata).with_suffix(".json").unlink()


def member(name: str, array: np.ndarray, method: int = zipfile.ZIP_STORED, header: tuple = ()) -> Make:
    """`model.npz` with one more array, written by other means than `save_checkpoint`."""

    def make(place: Path) -> None:
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, array, allow_pickle=True)
        with zipfile.ZipFile(place / "model.npz", "a", method) as archive:
            archive.writestr(f"{name}.npy", buffer.getvalue().replace(*header) if header else buffer.getvalue())

    return make


def tensors(change: Callable[[dict[str, np.ndarray]], Any]) -> Make:
    """`state.npz` with other tensors."""

    def make(place: Path) -> None:
        with np.load(place / "state.npz") as archive:
            state = dict(archive)
        change(state)
        np.savez(place / "state.npz", **state)

    return make


def zipped(name: str, content: bytes) -> Make:
    def make(place: Path) -> None:
        (place / "raw").mkdir()
        with zipfile.ZipFile(place / "raw" / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.CSV", content)

    return make


def recorded(**changes: Any) -> Make:
    """The folder `mapped` with another record."""

    def make(place: Path) -> None:
        map_data(place / "data", place / "mapped")
        record = place / "mapped" / "graph.json"
        record.write_text(json.dumps(json.loads(record.read_text()) | changes))

    return make


def stored(column: str, change: Callable[[bytes], bytes]) -> Make:
    """The folder `mapped` with other bytes in the file of a column; the folder of columns has a fixed name."""

    def make(place: Path) -> None:
        recorded(folder="facts-0123456789abcdef-1")(place)
        (facts,) = (place / "mapped").glob("facts-*")
        facts = facts.rename(place / "mapped" / "facts-0123456789abcdef-1")
        (facts / f"{column}.npy").write_bytes(change((facts / f"{column}.npy").read_bytes()))

    return make


def scored(**changes: Any) -> Make:
    """`scores.parquet` of all queries of the test split of `data`, with other columns; None: without."""

    def make(place: Path) -> None:
        entities = list(range(6))
        frame = pl.DataFrame(
            {
                "subject": [*entities, *[None] * 6],
                "relation": 1,
                "object": [*[None] * 6, *entities],
                "time": 9,
                "scores": [[0.1 * number for number in entities]] * 12,
            }
        )
        frame = frame.with_columns(**{name: value for name, value in changes.items() if value is not None})
        frame = frame.drop([name for name, value in changes.items() if value is None])
        frame.write_parquet(place / "scores.parquet")

    return make


def events(days: int = 10) -> pl.DataFrame:
    names = [f"actor {number % 4}" for number in range(days)]
    return pl.DataFrame(
        {"entity1": names, "relation": "010", "entity2": names[::-1], "timestamp": range(20180101, 20180101 + days)}
    )


def write_sound_files(place: Path) -> None:
    """Write the sound files of the working folder: `data`, `events.parquet`, `model.npz`, `state.npz`."""
    (place / "data").mkdir()
    for name, times in (("train", range(8)), ("valid", (8,)), ("test", (9,))):
        rows = [f"{s}\t{t % 2}\t{(s + 1) % 6}\t{t}\n" for t in times for s in range(6)]
        (place / "data" / f"{name}.txt").write_text("".join(rows))
    (place / "data" / "stat.txt").write_text("6\t2\n")
    events().write_parquet(place / "events.parquet")
    graph = load_graph(place / "data")
    config = TiRGNTrainingConfig(embedding_dim=4, conv_channels=2, num_layers=1)
    save_model(place / "model", build_model(6, 2, config, key=jr.key(0)), config, graph)
    (place / "model.json").rename(place / "side.json")
    with np.load(GOLDEN) as archive:
        state = {name.removeprefix("state/"): archive[name] for name in archive.files if name.startswith("state/")}
    np.savez(place / "state.npz", **state)
