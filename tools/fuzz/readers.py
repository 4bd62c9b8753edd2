"""What `fuzz.py` reads: for every reader valid files, and how a program reads them."""

import gzip
import json
import random
import re
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from tools.fuzz import damage, shared_folders
from tools.fuzz.damage import Files

# Of 27,500 inputs.
SHARES = {
    **{"folder": 2000, "mapped": 1500, "events": 2000, "checkpoint": 2500, "state": 1500, "settings": 3000},
    **{"options": 2500, "lists": 2000, "raw": 1500, "table": 1000, "record": 1500, "packed": 1000, "weights": 1000},
    **{"questions": 1000, "tgb": 2000, "study": 1500, "tables": 2000},
}
Act = Callable[[Path], Any]


def _files(place: Path) -> Files:
    return {str(file.relative_to(place)): file.read_bytes() for file in sorted(place.rglob("*")) if file.is_file()}


def _rows(count: int = 30) -> bytes:
    from benchmarks import ingest

    return b"\n".join(
        b"%d\t" % (1000 + number) + ingest.made_up(random.Random(number)).partition(b"\t")[2] for number in range(count)
    )


def _folder() -> list[Files]:
    facts = [(s, t % 2, (s + 1 + t % 2) % 6, t) for t in range(10) for s in range(6)]
    cut = {"train.txt": range(8), "valid.txt": (8,), "test.txt": (9,)}
    text = {name: [fact for fact in facts if fact[3] in times] for name, times in cut.items()}
    files = {name: "".join("\t".join(map(str, row)) + "\n" for row in rows).encode() for name, rows in text.items()}
    files |= {"stat.txt": b"6\t2\n", "entity2id.txt": b"".join(b"name %d\t%d\n" % (n, n) for n in range(6))}
    files |= {
        "relation2id.txt": b"says\t0\ndoes\t1\n",
        "e-w-graph.txt": b"".join(b"%d 0 %d\n" % (n, n % 3) for n in range(6)),
    }
    return [files]


def _mapped() -> list[Files]:
    from tirgn_eqx.data import build_history_vocabulary, map_graph

    with tempfile.TemporaryDirectory() as work:
        graph = map_graph(_graph(Path(work) / "data"), Path(work) / "graph")
        build_history_vocabulary(graph)
        files = _files(Path(work) / "graph")
    return [{name: data for name, data in files.items() if "lock" not in name}]


def _events() -> list[Files]:
    import datetime as dt
    import io

    import polars as pl

    moments = [dt.datetime(2018, 1, 1) + dt.timedelta(hours=7 * hour) for hour in range(60)]
    names = [f"actor {number % 7}" for number in range(60)]
    table = pl.DataFrame({"entity1": names, "relation": ["a", "b"] * 30, "entity2": names[::-1], "timestamp": moments})
    forms = [table, table.with_columns(timestamp=pl.col("timestamp").dt.strftime("%Y%m%d").cast(pl.Int64))]
    forms.append(
        table.with_columns(
            timestamp=pl.col("timestamp").cast(pl.String), entity1=pl.col("entity1").cast(pl.Categorical)
        )
    )
    made = []
    for form, compression in zip(forms, ("zstd", "snappy", "uncompressed")):
        buffer = io.BytesIO()
        form.write_parquet(buffer, compression=compression)  # pyright: ignore[reportArgumentType]
        made.append({"events.parquet": buffer.getvalue()})
    return made


def _text_tables() -> list[Files]:
    """The tables of `_events` in the other forms."""
    import gzip
    import io

    import polars as pl

    made: list[Files] = []
    for files in _events()[:2]:
        table = pl.read_parquet(files["events.parquet"])
        text, lines = table.write_csv().encode(), table.write_ndjson().encode()
        arrow, stream = io.BytesIO(), io.BytesIO()
        table.write_ipc(arrow)
        table.write_ipc_stream(stream)
        made += [{"a.csv": text}, {"a.csv.gz": gzip.compress(text)}, {"a.ndjson": lines}]
        made += [{"a.tsv": table.write_csv(separator="\t").encode()}, {"a.arrow": arrow.getvalue()}]
        made += [
            {"a.arrows": stream.getvalue()},
            {"a/1.parquet": files["events.parquet"], "a/2.parquet": files["events.parquet"]},
        ]
    return made


def _tiny(family: str = "tirgn", **more: Any) -> Any:
    from tirgn_eqx.config import FAMILIES, settings_of

    small: Any = {"embedding_dim": 4, "num_layers": 1, "conv_channels": 2, "static_blocks": 2, "history_len": 2}
    small |= {"evidence_heads": 2, "evidence_hidden": 2} | more
    config = FAMILIES[family]
    return config(**{name: value for name, value in small.items() if name in settings_of(config)})


def _graph(place: Path) -> Any:
    from tirgn_eqx.data import load_graph

    return load_graph(write(_folder()[0], place))


def write(files: Files, place: Path) -> Path:
    """The files in the folder `place`, which is made."""
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    return place


def _checkpoint() -> list[Files]:
    import jax.random as jr

    from tirgn_eqx.checkpoint.models import save_model
    from tirgn_eqx.models import build_model

    made = []
    for model in ("tirgn", "evidence"):
        with tempfile.TemporaryDirectory() as work:
            graph, config = _graph(Path(work) / "data"), _tiny(model)
            built = build_model(graph.num_entities, graph.num_relations, config, graph.static, key=jr.key(0))
            save_model(Path(work) / "out" / "m", built, config, graph)
            files = _files(Path(work) / "out")
            made += [files, {"m.npz": files["m.npz"]}]
    return made


def _identity() -> Any:
    from tirgn_eqx.checkpoint.metadata import DataDescription, TrainingIdentity

    data = DataDescription(name="tiny", sha256="0" * 64)
    return TrainingIdentity(config=_tiny().to_dict(), data=data, num_entities=3, num_relations=1)


_MODEL, _OPTIMISER = {"a": np.zeros((3, 2), np.float32)}, {"m": np.zeros(3, np.float32), "n": np.zeros((), np.int32)}


def _state() -> list[Files]:
    from tirgn_eqx.checkpoint.metadata import TrainingProgress
    from tirgn_eqx.checkpoint.training_state import save_training_state

    with tempfile.TemporaryDirectory() as work:
        progress = TrainingProgress(
            epoch=2,
            step=1,
            global_step=9,
            best_value=0.5,
            best_epoch=1,
            oom_overrides={"batch_size": 8},
        )
        save_training_state(Path(work), _MODEL, _OPTIMISER, progress, {"loss": np.ones(1)}, _identity())
        files = _files(Path(work))
    return [files, {name: data for name, data in files.items() if name.endswith("npz")}]


def _settings() -> list[Files]:
    config = _tiny()
    return [
        {"run.toml": config.to_toml().encode()},
        {"run.json": json.dumps(config.to_dict()).encode()},
        {"run.toml": b"epochs = 3\n"},
    ]


def _options() -> list[Files]:
    lines = ["angle=10", "sim:num_entities=12,num_relations=3,num_days=12,facts_per_day=6", "2018-02-01T06:00", "36h"]
    lines += ["12GiB", "entities=7,relations=2,edges=4,queries=8", "http://data.gdeltproject.org", "loss=sampled"]
    return [{f"{number}.txt": line.encode()} for number, line in enumerate(lines)]


def _lists() -> list[Files]:
    day = b"d41d8cd98f00b204e9800998ecf8427e  20200101.export.CSV.zip\n"
    url = (
        "150383 297a16b493de7cf6ca809a7cc31d0b93 http://data.gdeltproject.org/gdeltv2/20200101%02d0000.export.CSV.zip\n"
    )
    master = "".join(url % hour for hour in range(24)).encode()
    return [{"masterfilelist.txt": master}, {"md5sums": day * 3, "filesizes": b"1234 20200101.export.CSV.zip\n"}]


def _packed() -> list[Files]:
    rows = _rows()
    name = "20180101000000.export.CSV"
    deflated = damage.archived([(name, rows)], damage.zipfile.ZIP_DEFLATED)
    return [{f"{name}.zip": deflated}, {f"{name}.zip": damage.archived([(name, rows)])}]


def _raw() -> list[Files]:
    return [{"20180101000000.export.CSV": _rows()}, *_packed(), {"20180101.export.csv.gz": gzip.compress(_rows())}]


def _table() -> list[Files]:
    from tirgn_eqx.gdelt.ingest import ingest

    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "a.export.CSV").write_bytes(_rows() + b"\nno event\n")
        ingest([Path(work) / "a.export.CSV"], Path(work) / "out" / "events.parquet")
        return [_files(Path(work) / "out")]


def _record() -> list[Files]:
    from tirgn_eqx.gdelt.verified import VerifiedFile, VerifiedFiles, take_fingerprint

    with tempfile.TemporaryDirectory() as work:
        place = write({"a.zip": b"abc", "b.zip": b""}, Path(work))
        verified = VerifiedFiles()
        for name in ("a.zip", "b.zip"):
            verified.files[name] = VerifiedFile("0" * 32, take_fingerprint(place / name), 2**60)
        verified.save(place / "collected.json")
        return [{"collected.json": (place / "collected.json").read_bytes()}]


def _golden() -> tuple[Any, dict[str, np.ndarray]]:
    """A data set and weights of the released model that fit it, from the golden numbers of the tests."""
    with np.load(common.ROOT / "tests" / "golden" / "plain.npz") as archive:
        numbers = dict(archive)
    facts, step = numbers["all_facts"], numbers["all_facts"][:, 3] // numbers["cfg/time_interval"]
    from tirgn_eqx.data.graph import from_facts

    graph = from_facts("golden", facts, np.digitize(step, [7, 8]), 17, 5)
    prefix = "state/"
    return graph, {name.removeprefix(prefix): value for name, value in numbers.items() if name.startswith(prefix)}


def _weights() -> list[Files]:
    import io

    _, state = _golden()
    made = []
    for save in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        save(buffer, **state)  # pyright: ignore[reportArgumentType]
        made.append({"state.npz": buffer.getvalue()})
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError:
        return made
    tensors = {name: torch.tensor(value) for name, value in state.items()}
    for content, new in (({"state_dict": tensors}, True), (tensors, False)):
        buffer = io.BytesIO()
        torch.save(content, buffer, _use_new_zipfile_serialization=new)
        made.append({"state.pt": buffer.getvalue()})
    return made


def _questions() -> list[Files]:
    import io

    import polars as pl

    csv = b'subject,relation,object\nA,r,\n,r,B\n"A,""x",,C\n'
    buffer = io.BytesIO()
    pl.read_csv(csv).write_parquet(buffer)
    return [{"questions.csv": csv}, {"questions.parquet": buffer.getvalue()}]


SEEDS: dict[str, Callable[[], list[Files]]] = {
    **{
        "folder": _folder,
        "mapped": _mapped,
        "events": _events,
        "tables": _text_tables,
        "checkpoint": _checkpoint,
        "state": _state,
    },
    **{"settings": _settings, "options": _options, "lists": _lists, "raw": _raw, "table": _table, "record": _record},
    **{"packed": _packed, "weights": _weights, "questions": _questions},
    **{"tgb": shared_folders.tgb, "study": shared_folders.study},
}


def _load(place: Path, **options: Any) -> None:
    from tirgn_eqx.data import graph_statistics, load_graph
    from tirgn_eqx.data.times import format_snapshot_time

    graph = load_graph(place, **options)
    json.dumps(graph_statistics(graph))
    for snapshot in (0, graph.num_snapshots - 1):
        format_snapshot_time(graph, snapshot)


def _load_mapped(place: Path) -> None:
    from tirgn_eqx.data import build_history_vocabulary, load_graph

    graph = load_graph(place)
    vocabulary = build_history_vocabulary(graph)
    vocabulary.entity.lookup(np.arange(4), graph.num_snapshots, 2)
    _load(place)


def _load_model(place: Path) -> None:
    from tirgn_eqx.checkpoint.models import load_model

    load_model(place / "m.npz")


def _resume(place: Path) -> None:
    from tirgn_eqx.checkpoint.training_state import load_training_state

    load_training_state(place, _MODEL, _OPTIMISER, _identity())


def _configure(place: Path) -> None:
    from tirgn_eqx.config import GivenSettings

    for file in place.iterdir():
        GivenSettings(file=file).config().to_toml()


def _parse(place: Path) -> None:
    from tirgn_cli.values import parse_bytes, parse_shape
    from tirgn_eqx.config import TiRGNTrainingConfig, parse_assignments
    from tirgn_eqx.data import load_graph
    from tirgn_eqx.errors import TirgnError
    from tirgn_eqx.gdelt.feed import parse_span, parse_time
    from tirgn_eqx.storage.download import checked_url

    text = next(iter(place.iterdir())).read_bytes().decode("utf-8", "replace").replace("\0", "")
    readers = [
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
    """A world that is as large as was asked for is no fault; one without limits would be."""
    return not any(len(number) > 3 for number in re.findall("[0-9_]+", text)) or "9999" in text


def _list(place: Path) -> None:
    import datetime as dt

    from tirgn_eqx.gdelt.feed import FEEDS, iterate_lines, read_lists

    span = dt.datetime(2019, 1, 1, tzinfo=dt.UTC), dt.datetime(2021, 1, 1, tzinfo=dt.UTC)
    feed = FEEDS["v2" if (place / "masterfilelist.txt").exists() else "v1"]
    files = [(place / path.rpartition("/")[2]).open("rb") for path in feed.lists]
    try:
        json.dumps([vars(line) for line in read_lists(feed, [iterate_lines(file) for file in files], *span).shown])
    finally:
        for file in files:
            file.close()


def _ingest(place: Path) -> None:
    from tirgn_eqx.gdelt.ingest import ingest

    report = ingest([place], place / "made.parquet")
    for unreadable in report.files.unreadable:
        assert unreadable.reason.isprintable(), unreadable


def _ingest_again(place: Path) -> None:
    from tirgn_eqx.gdelt.ingest import ingest

    (place / "b.export.CSV").write_bytes(_rows(5).replace(b"100", b"200"))
    ingest([place / "b.export.CSV"], place / "events.parquet")


def _verify(place: Path) -> None:
    import datetime as dt

    from tirgn_eqx.gdelt.feed import ListedFile
    from tirgn_eqx.gdelt.verified import VerifiedFiles

    write({"a.zip": b"abc", "b.zip": b""}, place)
    verified = VerifiedFiles.load(place / "collected.json")
    for name in ("a.zip", "b.zip"):
        verified.matches(place / name, ListedFile(dt.datetime.now(dt.UTC), None, "0" * 32))
    verified.save(place / "collected.json")


def _unpack(place: Path) -> None:
    from tirgn_eqx.storage.download import zip_trouble

    for file in place.iterdir():
        assert zip_trouble(file).isprintable()


def _import(place: Path) -> None:
    from tirgn_eqx.checkpoint.released import import_torch

    import_torch(
        next(iter(place.iterdir())), _golden()[0], place / "out.npz", {"static_graph": False, "history_len": 3}
    )


def _ask(place: Path) -> None:
    from tirgn_eqx.forecast.queries import read_queries

    read_queries(next(iter(place.iterdir()))).rows()


ACTS: dict[str, Act] = {
    **{"folder": _load, "mapped": _load_mapped, "events": lambda place: _load(place / "events.parquet", num_days=0)},
    "tables": lambda place: _load(next(iter(place.glob("a*"))), num_days=0),
    **{"checkpoint": _load_model, "state": _resume, "settings": _configure, "options": _parse, "lists": _list},
    **{"raw": _ingest, "table": _ingest_again, "record": _verify, "packed": _unpack, "weights": _import},
    **{"questions": _ask, "tgb": shared_folders.load_tgb, "study": shared_folders.go_on},
}


def attempt(reader: str, place: Path) -> tuple[str, str]:
    """What became of the files in `place`: `read`, or the class of the error that refused them, and its message.

    **Raises:** whatever is no error that the library raises on purpose, and AssertionError for a message of another
    form than one line without control characters.
    """
    from tirgn_eqx.errors import TirgnError

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            ACTS[reader](place)
            outcome, message = "read", ""
        except TirgnError as error:
            outcome, message = type(error).__name__, str(error)
            assert message and message.isprintable() and len(message) < 2500, f"no message of one line: {message!r}"
    for warning in warned:
        assert str(warning.message).isprintable() or "tirgn" not in warning.filename, (
            f"no warning of one line: {warning}"
        )
    return outcome, message
