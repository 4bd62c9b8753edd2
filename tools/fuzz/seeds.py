"""Valid files for every reader that is fuzzed; mutations of them are what it reads."""

import datetime as dt
import gzip
import io
import json
import random
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import jax.random as jr
import numpy as np
import polars as pl

from benchmarks import common, ingest
from tirgn_eqx.checkpoint.metadata import DataDescription, TrainingIdentity, TrainingProgress
from tirgn_eqx.checkpoint.models import save_model
from tirgn_eqx.checkpoint.training_state import save_training_state
from tirgn_eqx.config import FAMILIES, TrainingConfig, settings_of
from tirgn_eqx.data import TemporalGraph, build_history_vocabulary, load_graph, map_graph
from tirgn_eqx.data.graph import from_facts
from tirgn_eqx.data.vocabulary import describe_vocabulary
from tirgn_eqx.gdelt.verified import VerifiedFile, VerifiedFiles, take_fingerprint
from tirgn_eqx.ingest.api import ingest as ingest_events
from tirgn_eqx.models import build_model
from tools.fuzz import shared_folders
from tools.fuzz.damage import Files, archived

# A training state holds the arrays of a model and of an optimizer; these are enough for its reader.
MODEL = {"a": np.zeros((3, 2), np.float32)}
OPTIMIZER = {"m": np.zeros(3, np.float32), "n": np.zeros((), np.int32)}


def write(files: Files, place: Path) -> Path:
    """The files in the folder `place`, which is made."""
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    return place


def raw_rows(count: int = 30) -> bytes:
    """Rows of a raw event file with ids from 1000 on."""
    rows = (ingest.made_up(random.Random(number)).partition(b"\t")[2] for number in range(count))
    return b"\n".join(b"%d\t" % (1000 + number) + row for number, row in enumerate(rows))


def identity() -> TrainingIdentity:
    """What a training state belongs to."""
    data = DataDescription(name="tiny", sha256="0" * 64)
    return TrainingIdentity(config=_tiny().to_dict(), data=data, num_entities=3, num_relations=1)


def golden() -> tuple[TemporalGraph, dict[str, np.ndarray]]:
    """A data set and weights of the released model that fit it, from the golden numbers of the tests."""
    with np.load(common.ROOT / "tests" / "golden" / "plain.npz") as archive:
        numbers = dict(archive)
    facts, step = numbers["all_facts"], numbers["all_facts"][:, 3] // numbers["cfg/time_interval"]
    graph = from_facts("golden", facts, np.digitize(step, [7, 8]), 17, 5)
    prefix = "state/"
    return graph, {name.removeprefix(prefix): value for name, value in numbers.items() if name.startswith(prefix)}


def _written(make: Callable[[Path], object]) -> Files:
    """The files that `make` writes into the folder that it is given."""
    with tempfile.TemporaryDirectory() as work:
        place = Path(work) / "out"
        place.mkdir()
        make(place)
        return {str(file.relative_to(place)): file.read_bytes() for file in sorted(place.rglob("*")) if file.is_file()}


def _buffered(save: Callable[[io.BytesIO], object]) -> bytes:
    """What `save` writes into the open file that it is given."""
    buffer = io.BytesIO()
    save(buffer)
    return buffer.getvalue()


def _lines(rows: Iterable[str]) -> bytes:
    return "".join(f"{row}\n" for row in rows).encode()


def _folder() -> list[Files]:
    facts = [(s, t % 2, (s + 1 + t % 2) % 6, t) for t in range(10) for s in range(6)]
    cut = {"train.txt": range(8), "valid.txt": (8,), "test.txt": (9,)}
    files = {
        name: _lines("\t".join(map(str, fact)) for fact in facts if fact[3] in times) for name, times in cut.items()
    }
    files |= {"stat.txt": b"6\t2\n", "entity2id.txt": _lines(f"name {n}\t{n}" for n in range(6))}
    files |= {"relation2id.txt": b"says\t0\ndoes\t1\n", "e-w-graph.txt": _lines(f"{n} 0 {n % 3}" for n in range(6))}
    return [files]


def _graph(place: Path) -> TemporalGraph:
    return load_graph(write(_folder()[0], place))


def _mapped() -> list[Files]:
    def make(place: Path) -> None:
        build_history_vocabulary(map_graph(_graph(place.parent / "data"), place / "graph"))

    files = _written(make)
    return [{name.removeprefix("graph/"): data for name, data in files.items() if "lock" not in name}]


def _events() -> list[Files]:
    times = [dt.datetime(2018, 1, 1) + dt.timedelta(hours=7 * hour) for hour in range(60)]
    names = [f"actor {number % 7}" for number in range(60)]
    table = pl.DataFrame({"entity1": names, "relation": ["a", "b"] * 30, "entity2": names[::-1], "timestamp": times})
    time = pl.col("timestamp")
    forms = (
        table,
        table.with_columns(timestamp=time.dt.strftime("%Y%m%d").cast(pl.Int64)),
        table.with_columns(timestamp=time.cast(pl.String), entity1=pl.col("entity1").cast(pl.Categorical)),
    )
    return [
        {"events.parquet": _buffered(lambda file, form=form, kind=kind: form.write_parquet(file, compression=kind))}
        for form, kind in zip(forms, ("zstd", "snappy", "uncompressed"))
    ]


def _text_tables() -> list[Files]:
    """The tables of `_events` in the other forms."""
    made: list[Files] = []
    for files in _events()[:2]:
        parquet = files["events.parquet"]
        table = pl.read_parquet(parquet)
        text = table.write_csv().encode()
        made += [
            {"a.csv": text},
            {"a.csv.gz": gzip.compress(text)},
            {"a.ndjson": table.write_ndjson().encode()},
            {"a.tsv": table.write_csv(separator="\t").encode()},
            {"a.arrow": _buffered(table.write_ipc)},
            {"a.arrows": _buffered(table.write_ipc_stream)},
            {"a/1.parquet": parquet, "a/2.parquet": parquet},
        ]
    return made


def _tiny(family: str = "tirgn") -> TrainingConfig:
    small = {"embedding_dim": 4, "num_layers": 1, "conv_channels": 2, "static_blocks": 2, "history_len": 2}
    small |= {"evidence_heads": 2, "evidence_hidden": 2}
    config = FAMILIES[family]()
    return config.replace(**{name: value for name, value in small.items() if name in settings_of(type(config))})


def _checkpoint() -> list[Files]:
    made = []
    for family in ("tirgn", "evidence"):

        def make(place: Path, family: str = family) -> None:
            graph, config = _graph(place.parent / "data"), _tiny(family)
            model = build_model(graph.num_entities, graph.num_relations, config, graph.static, key=jr.key(0))
            save_model(place / "m", model, config, graph)

        files = _written(make)
        made += [files, {"m.npz": files["m.npz"]}]
    return made


def _state() -> list[Files]:
    progress = TrainingProgress(
        epoch=2, step=1, global_step=9, best_value=0.5, best_epoch=1, oom_overrides={"batch_size": 8}
    )
    losses = {"loss": np.ones(1)}
    files = _written(lambda place: save_training_state(place, MODEL, OPTIMIZER, progress, losses, identity()))
    return [files, {name: data for name, data in files.items() if name.endswith("npz")}]


def _settings() -> list[Files]:
    config = _tiny()
    files = (("run.toml", config.to_toml()), ("run.json", json.dumps(config.to_dict())), ("run.toml", "epochs = 3\n"))
    return [{name: text.encode()} for name, text in files]


def _options() -> list[Files]:
    lines = ["angle=10", "sim:num_entities=12,num_relations=3,num_days=12,facts_per_day=6", "2018-02-01T06:00", "36h"]
    lines += ["12GiB", "entities=7,relations=2,edges=4,queries=8", "http://data.gdeltproject.org", "loss=sampled"]
    return [{f"{number}.txt": line.encode()} for number, line in enumerate(lines)]


def _lists() -> list[Files]:
    day = b"d41d8cd98f00b204e9800998ecf8427e  20200101.export.CSV.zip\n"
    url = "150383 297a16b493de7cf6ca809a7cc31d0b93 http://data.gdeltproject.org/gdeltv2/20200101%02d0000.export.CSV.zip"
    master = _lines(url % hour for hour in range(24))
    return [{"masterfilelist.txt": master}, {"md5sums": day * 3, "filesizes": b"1234 20200101.export.CSV.zip\n"}]


def _packed() -> list[Files]:
    name = "20180101000000.export.CSV"
    return [
        {f"{name}.zip": archived([(name, raw_rows())], method)} for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED)
    ]


def _raw() -> list[Files]:
    rows = raw_rows()
    return [{"20180101000000.export.CSV": rows}, *_packed(), {"20180101.export.csv.gz": gzip.compress(rows)}]


def _table() -> list[Files]:
    def make(place: Path) -> None:
        raw = place.parent / "a.export.CSV"
        raw.write_bytes(raw_rows() + b"\nno event\n")
        ingest_events([raw], place / "events.parquet")

    return [_written(make)]


def _record() -> list[Files]:
    def make(place: Path) -> None:
        verified = VerifiedFiles()
        for name in write({"a.zip": b"abc", "b.zip": b""}, place.parent / "files").iterdir():
            verified.files[name.name] = VerifiedFile("0" * 32, take_fingerprint(name), 2**60)
        verified.save(place / "collected.json")

    return [_written(make)]


def _weights() -> list[Files]:
    _, state = golden()
    made = [
        {"state.npz": _buffered(lambda file, save=save: save(file, **state))}  # pyright: ignore[reportArgumentType]
        for save in (np.savez, np.savez_compressed)
    ]
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError:
        return made
    tensors = {name: torch.tensor(value) for name, value in state.items()}
    for content, new in (({"state_dict": tensors}, True), (tensors, False)):
        options = {"_use_new_zipfile_serialization": new}
        made.append({"state.pt": _buffered(lambda file, c=content, options=options: torch.save(c, file, **options))})
    return made


def _queries() -> list[Files]:
    csv = b'subject,relation,object\nA,r,\n,r,B\n"A,""x",,C\n'
    return [{"queries.csv": csv}, {"queries.parquet": _buffered(pl.read_csv(csv).write_parquet)}]


def score_graph() -> TemporalGraph:
    """The facts that the files of scores are about: one a day, and two on the last, of the test split."""
    facts = np.array([(0, 0, 1, 0), (1, 0, 2, 1), (0, 0, 1, 2), (2, 0, 0, 2)])
    names = {"entity_names": ("A", "B", "C"), "relation_names": ("r",), "time_unit": 86_400}
    return from_facts("made", facts, np.array([0, 1, 2, 2]), 3, 1, **names)


def _scores() -> list[Files]:
    queries = {"subject": [0, 2, -1, -1], "relation": [0] * 4, "object": [-1, -1, 1, 0], "time": [2] * 4}
    scores, rank = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3), np.array([1.0, 2.5, 1, 3])
    vocabulary = {"tirgn.vocabulary": json.dumps(describe_vocabulary(score_graph()))}
    forms = ({"scores": scores}, {"candidate": np.zeros(4, int), "score": rank}, {"answer": [1, 0, 0, 2], "rank": rank})
    files: list[Files] = []
    for form in forms:
        columns = {name: np.asarray(values) for name, values in (queries | form).items()}
        packed = _buffered(lambda file, c=columns: np.savez(file, **c))  # pyright: ignore[reportArgumentType]
        files.append({"scores.npz": packed})
        named = pl.DataFrame({"subject": ["A", "C", None, None], "relation": "r", "object": [None, None, "B", "A"]})
        frame = named.with_columns(pl.Series(name, columns[name]) for name in columns if name not in named.columns)
        frame = frame.with_columns(time=pl.lit("1970-01-03"))
        files.append({"scores.parquet": _buffered(lambda file, f=frame: f.write_parquet(file, metadata=vocabulary))})
    return files


SEEDS: dict[str, Callable[[], list[Files]]] = {
    "folder": _folder,
    "mapped": _mapped,
    "events": _events,
    "tables": _text_tables,
    "checkpoint": _checkpoint,
    "state": _state,
    "settings": _settings,
    "options": _options,
    "lists": _lists,
    "raw": _raw,
    "table": _table,
    "record": _record,
    "packed": _packed,
    "weights": _weights,
    "queries": _queries,
    "scores": _scores,
    "tgb": shared_folders.tgb,
    "study": shared_folders.study,
}
