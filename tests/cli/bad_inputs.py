"""Bad inputs, each with the command that meets it; `python tests/cli/bad_inputs.py FILE` writes their table."""

import gzip
import io
import json
import os
import re
import shlex
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax.random as jr
import numpy as np
import polars as pl
from typer.testing import CliRunner, Result

from tirgn_cli.app import app
from tirgn_eqx.checkpoint.files import load_checkpoint, save_checkpoint
from tirgn_eqx.checkpoint.models import save_model
from tirgn_eqx.config import TiRGNTrainingConfig
from tirgn_eqx.data import load_graph, map_data
from tirgn_eqx.models import build_model

GOLDEN = Path(__file__).parents[1] / "golden" / "plain.npz"
HEAD = """# What is refused, and how it is said

Written by `python tests/cli/bad_inputs.py docs/errors.md`; a test compares it with what the commands say.

Whatever is wrong, a command says it in one line on stderr that begins with `error: `, prints nothing on stdout, and
leaves with an exit code: 1 for data, checkpoints and runs, 2 for options and settings. Names and values in a message
are cut when they are long, and control characters in them are spelt out; `…` stands here for what another library
says, which differs between its versions. `--debug` shows the traceback as well.
"""
Make = Callable[[Path], Any]


class Bad(NamedTuple):
    """One input: what is wrong with it, the command, how its files are made, and what of the message is not ours."""

    what: str
    command: str
    make: Make = lambda place: None
    code: int = 1
    theirs: str = "(?!)"


def nothing(place: Path) -> None:
    """The files as they are."""


def text(name: str, content: str | bytes) -> Make:
    return lambda place: (place / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def line(name: str, content: str) -> Make:
    """The file with one line more."""
    return lambda place: (place / name).write_bytes((place / name).read_bytes() + content.encode())


HEADER = "entity1,relation,entity2,timestamp"


def parts(place: Path, *names: str) -> None:
    """A folder `a` with such files."""
    (place / "a").mkdir()
    for name in names:
        text(f"a/{name}", HEADER)(place)


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
    """`model.npz` of a table of events with these four actors; `then`: what is done after it was trained."""

    def make(place: Path) -> None:
        names = [actors[number % 4] for number in range(10)]
        table(entity1=pl.Series(names), entity2=pl.Series(names[::-1]))(place)
        graph, config = load_graph(place / "events.parquet"), TiRGNTrainingConfig(embedding_dim=4, conv_channels=2)
        save_model(place / "model", build_model(4, 1, config, key=jr.key(0)), config, graph).with_suffix(
            ".json"
        ).unlink()
        then(place)

    return make


def described(**changes: Any) -> Make:
    """`model.npz` that says other things beside its weights."""

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
    """`model.npz` with one array more, as it is put into an archive by others."""

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
    """The folder `mapped`, whose record says other things."""

    def make(place: Path) -> None:
        map_data(place / "data", place / "mapped")
        record = place / "mapped" / "graph.json"
        record.write_text(json.dumps(json.loads(record.read_text()) | changes))

    return make


def stored(column: str, change: Callable[[bytes], bytes]) -> Make:
    """The folder `mapped` with other bytes in the file of a column, under a name that is always the same."""

    def make(place: Path) -> None:
        recorded(folder="facts-0123456789abcdef-1")(place)
        (facts,) = (place / "mapped").glob("facts-*")
        facts = facts.rename(place / "mapped" / "facts-0123456789abcdef-1")
        (facts / f"{column}.npy").write_bytes(change((facts / f"{column}.npy").read_bytes()))

    return make


def events(days: int = 10) -> pl.DataFrame:
    names = [f"actor {number % 4}" for number in range(days)]
    return pl.DataFrame(
        {"entity1": names, "relation": "010", "entity2": names[::-1], "timestamp": range(20180101, 20180101 + days)}
    )


def world(place: Path) -> None:
    """What is sound in the folder where commands are given: `data`, `events.parquet`, `model.npz`, `state.npz`."""
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


STATS, TRAIN, EVAL = "tirgn data stats data", "tirgn train --config run.toml", "tirgn eval model.npz"
IMPORT = "tirgn import-torch state.npz --data-path data --out out.npz"
NAMED = "tirgn predict model.npz -q --relation 010"
ASK = "tirgn predict model.npz --queries asked.csv --out answers.csv"
DEEP = "[" * 100_000
MAPPED = "tirgn data stats mapped"
FEW_AND_MANY = (b"(60,), }".ljust(19), b"(1000000000000,), }")
PARQUET = r"(?<=file \().*(?=\);)"
TYPER = r"((?<=for '--epochs')|(?<=for '--num-days')).*(?=; see)"
RESUME = (
    "tirgn train --data-path data --model-dir models --logdir runs --resume --quiet --embedding-dim 4 --num-layers 1"
)
OTHER_STUDY, SAME_NAME = (
    f'{{"op_code":0,"worker_id":"a","study_name":"{name}","directions":[2]}}\n' for name in ("theirs", "tirgn")
)
SAME_NAME += json.dumps(
    {
        "op_code": 2,
        "worker_id": "a",
        "study_id": 0,
        "user_attr": {"made_for": {"data": {"name": "other", "sha256": "0" * 64}, "config": {}, "space": {}}},
    }
)
SAME_NAME += "\n"
CASES: dict[str, list[Bad]] = {
    "Options": [
        Bad(what, f"tirgn {command}", code=2, theirs=TYPER)
        for what, command in (
            ("a command that does not exist", "trian"),
            ("an option that does not exist", "train --epoch 3"),
            ("a word for a number", "train --epochs many"),
            ("a number below its range", "train --epochs -1"),
            ("a number above its range", "train --history-rate 1.5"),
            ("no number", "train --history-rate nan"),
            ("a choice that does not exist", "train --precision f16"),
            ("a preset that does not exist", "train --preset icews8"),
            ("a recipe that does not exist", "train --recipe quick"),
            ("a setting that does not exist", "train --set embeding_dim=8"),
            ("a setting without a value", "train --set angle"),
            ("a setting of another type", "train --set angle=steep"),
            ("an infinite setting", "train --set angle=inf"),
            ("a number of 5,000 digits", f"train --set seed={'9' * 5000}"),
            ("a width of 10^12", "train --set embedding_dim=1000000000000"),
            ("negative days", "train --num-days -1"),
            ("an axis that no mesh has", "train --mesh rows=2"),
            ("a mesh without sizes", "train --mesh data,entity"),
            ("a mesh of more devices than there are", "train --mesh data=64,entity=64"),
            ("a process without the others", "train --process-id 1"),
            ("a coordinator without its port", "train --coordinator node1 --num-processes 2 --process-id 0"),
            ("no checkpoint", "eval"),
            ("a split without facts to forecast", "eval model.npz --split train"),
            ("feedback without --multi-step", "eval model.npz --feed-back"),
            ("a model that does not exist", "eval model.npz --model gru"),
            ("one model to compare", "compare model.npz"),
            ("nothing that names the data", "compare recurrency recurrency:strict"),
            ("a variant that does not exist", "compare recurrency:loose model.npz"),
            ("a threshold beyond 100 %", "compare model.npz recurrency --threshold 200"),
            ("nothing to retrain", "retrain --data-path events.parquet"),
            ("a regression of more than all", "retrain --from model.npz --max-regression 2"),
            ("a variant of the baseline that does not exist", "baseline recurrency --variant loose"),
            ("one parameter of two", "baseline recurrency --decay 1"),
            ("a size in no unit", "vram-probe --budget '12 Gibi'"),
            ("a size of 400 digits", f"vram-probe --budget {'9' * 400}"),
            ("a shape without entities", "vram-probe --shape entities=0"),
            ("a shape of 10^11 entities", "vram-probe --shape entities=100000000000,relations=1,edges=1,queries=1"),
            ("data and a shape", "vram-probe --data-path sim --shape entities=3"),
            ("no range of time", "data collect --dir raw"),
            ("a length of time in no unit", "data collect --dir raw --last 5weeks"),
            ("a day that does not exist", "data collect --dir raw --from 2024-02-30"),
            ("an end before its start", "data collect --dir raw --from 2020-01-02 --to 2020-01-01"),
            ("a feed that does not exist", "data collect --dir raw --from 2020-01-01 --feed v3"),
            ("an address of no server", "data collect --dir raw --from 2020-01-01 --base-url ftp://x"),
            ("a table of another kind", "data ingest raw --out table.csv"),
            ("shares that are not 100 %", "data convert data --split 80/10/20 --out made"),
            ("splits of an event table", "data convert data --split 80/10/10 --out made.parquet"),
            ("a table of another form", "data convert data --out made.csv"),
            ("a place that holds a data set", "data convert events.parquet --out data"),
            ("a place that holds something else", "data convert data --force --out ."),
            ("data converted to itself", "data convert data --force --out data"),
            ("a quad class that does not exist", "data ingest raw --quad-class 5"),
            ("nothing to forecast", "predict model.npz"),
            ("questions without a place for answers", "predict model.npz --queries asked.csv"),
            ("a checkpoint of another kind", "import-torch state.npz --data-path data --out model.pt"),
            ("a world option that does not exist", "data stats sim:entities=3"),
            ("a world option that is no number", "data stats sim:seed=x1"),
        )
    ],
    "Files of settings": [
        Bad("a file that is missing", TRAIN, code=2),
        Bad("a folder", TRAIN, lambda place: (place / "run.toml").mkdir(), 2),
        Bad("a setting that does not exist", TRAIN, text("run.toml", "epoch = 3\n"), 2),
        Bad("a setting of another type", TRAIN, text("run.toml", 'epochs = "three"\n'), 2),
        Bad("no TOML", TRAIN, text("run.toml", "epochs = = 3\n"), 2, r"(?<=valid toml: ).*(?=;)"),
        Bad("no UTF-8", TRAIN, text("run.toml", b"\xff\xfe"), 2, r"(?<=valid toml: ).*(?=;)"),
        Bad("TOML nested 100,000 deep", TRAIN, text("run.toml", f"epochs = {DEEP}"), 2),
        Bad("JSON nested 100,000 deep", "tirgn train --config run.json", text("run.json", DEEP), 2),
        Bad("JSON that is a list", "tirgn train --config run.json", text("run.json", "[]"), 2),
        Bad("longer than any settings", TRAIN, text("run.toml", "#" * 2_000_000), 2),
    ],
    "Data folders": [
        Bad("a path that does not exist", "tirgn data stats nowhere"),
        Bad("a name with an escape sequence", "tirgn data stats '\x1b[31mred\nline'"),
        Bad("a file of another kind", "tirgn train --data-path notes.txt", text("notes.txt", "x")),
        Bad("a file that is missing", STATS, lambda place: (place / "data/stat.txt").unlink()),
        Bad("10^12 entities", STATS, text("data/stat.txt", "1000000000000\t2\n")),
        Bad("2,000,000,000 entities for 60 facts", STATS, text("data/stat.txt", "2000000000\t2\n")),
        Bad("two lines of counts", STATS, line("data/stat.txt", "6\t2\n")),
        Bad("a word for an id", STATS, line("data/valid.txt", "1\tx\t2\t8\n")),
        Bad("a number of 5,000 digits", STATS, line("data/valid.txt", f"{'9' * 5000}\t0\t2\t8\n")),
        Bad("an id beyond the count", STATS, line("data/valid.txt", "9\t0\t2\t8\n")),
        Bad("a time beyond 2^53", STATS, line("data/valid.txt", "1\t0\t2\t9007199254740993\n")),
        Bad("too few columns", STATS, line("data/valid.txt", "1\t0\t2\n")),
        Bad("facts without times", STATS, text("data/train.txt", "1\t0\t2\n")),
        Bad("two facts on one line", STATS, line("data/valid.txt", "1\t0\t2\t8\t1\t0\t3\t8\n")),
        Bad("commas between the columns", STATS, text("data/train.txt", "1,0,2,0\n")),
        Bad("half a step of time", STATS, line("data/valid.txt", "1\t0\t2\t8.5\n")),
        Bad("a date among numbers", STATS, line("data/valid.txt", "1\t0\t2\t2014-01-09\n")),
        Bad("bytes that were never written", STATS, line("data/test.txt", "\0\0\0\0")),
        Bad("the end mark of old systems", STATS, line("data/test.txt", "\x1a")),
        Bad("a file in UTF-16", STATS, text("data/train.txt", "1\t0\t2\t0\n".encode("utf-16"))),
        Bad("a split that is missing", STATS, lambda place: (place / "data/valid.txt").unlink()),
        Bad("a split without facts", STATS, text("data/test.txt", "")),
        Bad("splits that overlap in time", STATS, line("data/train.txt", "1\t0\t2\t9\n")),
        Bad("a line without end", STATS, text("data/train.txt", b"1" * 100_000)),
        Bad("names that are not UTF-8", STATS, text("data/entity2id.txt", b"a\t0\n\xff\t1\n")),
        Bad("names of which some stand behind their ids", STATS, text("data/entity2id.txt", "a\t0\n1\tb\n")),
        Bad("two columns of ids", STATS, text("data/entity2id.txt", "a\t0\t1\nb\t1\t0\n")),
        Bad("two names for an id", STATS, text("data/entity2id.txt", "a\t0\n<b>\x1b[2J</b>\t0\n")),
        Bad("a word with id 2,000,000,000", STATS, text("data/e-w-graph.txt", "0\t0\t2000000000\n")),
        Bad("a world of 10^12 facts", "tirgn data stats sim:num_days=100000,num_relations=10000,facts_per_day=1e7"),
    ],
    "Event tables": [
        Bad("no parquet file", "tirgn data stats a.parquet", text("a.parquet", "text"), theirs=PARQUET),
        Bad(
            "a footer that is cut off",
            "tirgn data stats a.parquet",
            text("a.parquet", b"PAR1" + b"\0" * 99),
            theirs=PARQUET,
        ),
        Bad("columns that are missing", "tirgn data stats events.parquet", table(entity1=None)),
        Bad("values that are null", "tirgn data stats events.parquet", table(entity2=pl.lit(None, pl.String))),
        Bad("names that are lists", "tirgn data stats events.parquet", table(entity1=pl.lit([[1]] * 10).list.first())),
        Bad("no times", "tirgn data stats events.parquet", table(timestamp=pl.lit("soon"))),
        Bad(
            "times of the year 292,277",
            "tirgn data stats events.parquet",
            table(timestamp=pl.lit(2**62).cast(pl.Datetime("us"))),
        ),
        Bad("one time", "tirgn data stats events.parquet", table(timestamp=pl.lit(20180101))),
        Bad("a step that does not exist", "tirgn data stats events.parquet --granularity week", code=2),
        Bad("a 0 among dates", "tirgn data stats events.parquet", table(timestamp=pl.Series([0, *[20180101] * 9]))),
        Bad("day or month first", "tirgn data stats events.parquet", table(timestamp=pl.lit("01/02/2021"))),
        Bad(
            "dates of Excel, or steps",
            "tirgn data stats events.parquet",
            table(timestamp=pl.int_range(43_101, 43_111, eager=True)),
        ),
        Bad(
            "a wrong unit",
            "tirgn data stats events.parquet",
            table(timestamp=pl.int_range(1_515_456_000, 1_515_456_010, eager=True).cast(pl.Datetime("ms"))),
        ),
        Bad("a form of times that does not exist", "tirgn data stats events.parquet --time-format unix", code=2),
        Bad("a role that does not exist", "tirgn data stats events.parquet --columns who=entity1", code=2),
        Bad("a column that is missing", "tirgn data stats events.parquet --columns entity1=who"),
        Bad(
            "two facts on a line",
            "tirgn data stats a.csv",
            text("a.csv", f"{HEADER}\nA,r,B,2021-03-01A,r,B,2021-03-02\n"),
        ),
        Bad(
            "text in another encoding",
            "tirgn data stats a.csv",
            text("a.csv", f"{HEADER}\nPer\xfa,r,B,1\n".encode("latin-1")),
        ),
        Bad("a table without names of columns", "tirgn data stats a.csv", text("a.csv", "A,r,B,2021-03-01\n")),
        Bad("a bomb", "tirgn data stats a.csv.gz", text("a.csv.gz", gzip.compress(bytes(80_000_000)))),
        Bad("a JSON array", "tirgn data stats a.ndjson", text("a.ndjson", '[{"entity1": "A"}]\n')),
        Bad("no Arrow file", "tirgn data stats a.arrow", text("a.arrow", "text"), theirs=PARQUET),
        Bad("parts of several forms", "tirgn data stats a", lambda place: parts(place, "1.csv", "2.parquet")),
        Bad("a folder without parts", "tirgn data stats a.parquet", lambda place: (place / "a.parquet").mkdir()),
    ],
    "Mapped graphs": [
        Bad("a record that is no JSON", STATS, text("data/graph.json", DEEP)),
        Bad("a record of something else", STATS, text("data/graph.json", '{"format": "\\u001b[31m"}')),
        Bad("10^12 facts", MAPPED, recorded(facts=10**12)),
        Bad("2,000,000,000 entities for 60 facts", MAPPED, recorded(num_entities=2 * 10**9)),
        Bad("columns of another folder", MAPPED, recorded(folder="../data")),
        Bad("columns that are gone", MAPPED, recorded(folder="facts-0123456789abcdef-1")),
        Bad("another version", MAPPED, recorded(version=9)),
        Bad("a column that is cut off", MAPPED, stored("subject", lambda raw: raw[:-4])),
        Bad(
            "a column that is pickled",
            MAPPED,
            stored("subject", lambda raw: raw.replace(b"'<i4'", b"'|O' ")),
        ),
        Bad("a header that claims 4 TB", MAPPED, stored("subject", lambda raw: raw.replace(*FEW_AND_MANY))),
        Bad("a column of another type", MAPPED, stored("subject", lambda raw: raw.replace(b"<i4", b"<f4"))),
        Bad("an id beyond the count", MAPPED, stored("subject", lambda raw: raw[:-4] + b"\x09\0\0\0")),
        Bad("a flipped bit", MAPPED, stored("subject", lambda raw: raw[:-4] + b"\0\0\0\0")),
        Bad("a place that holds something else", "tirgn data map data --out data", code=2),
        Bad("no place", "tirgn data map data", code=2),
        Bad("a source that does not exist", "tirgn data map nowhere --out mapped"),
    ],
    "Converted data": [
        Bad("no times", "tirgn data convert data --out made", text("data/train.txt", "0 0 1\n")),
        Bad("two times", "tirgn data convert two.txt --out made", text("two.txt", "0 0 1 5\n0 0 1 6\n")),
        Bad("a split that is empty", "tirgn data convert data --split 5/100 --out made"),
        Bad(
            "a name with a space before it",
            "tirgn data convert events.parquet -q --out made",
            table(entity2=pl.lit(" B")),
        ),
        Bad("times that mean nothing", STATS, text("data/times.json", '{"unit_seconds": "day"}')),
    ],
    "Checkpoints": [
        Bad("a file that is missing", "tirgn eval modle.npz"),
        Bad("a folder", "tirgn eval data"),
        Bad("no checkpoint", EVAL, text("model.npz", "text")),
        Bad("an archive without metadata", "tirgn eval state.npz"),
        Bad(
            "a file that is cut short",
            EVAL,
            lambda p: text("model.npz", (p / "model.npz").read_bytes()[:3000])(p),
            theirs=r"(?<=archive: ).*(?=; corrupt)",
        ),
        Bad("another sha256 than beside it", EVAL, text("model.json", json.dumps({"sha256": "0" * 64}))),
        Bad("an array that is missing", EVAL, weights(lambda arrays: arrays.pop("encoder.relation_embedding"))),
        Bad(
            "an array of another shape",
            EVAL,
            weights(lambda arrays: arrays.update({"encoder.entity_embedding": np.zeros((6, 5), np.float32)})),
        ),
        Bad(
            "an array of another type",
            EVAL,
            weights(lambda arrays: arrays.update({"encoder.entity_embedding": np.zeros((6, 4), int)})),
        ),
        Bad(
            "an array too many",
            "tirgn compare model.npz recurrency",
            weights(lambda arrays: arrays.update(spare=np.zeros(1))),
        ),
        Bad("another model than asked for", "tirgn eval model.npz --model evidence"),
        Bad("a model that does not exist", EVAL, described(model_type="\x1b[31mgru")),
        Bad("pickled code", EVAL, member("evil", np.array([{}], object))),
        Bad("a packed array, as of a zip bomb", EVAL, member("zeros", np.zeros(10**6), zipfile.ZIP_DEFLATED)),
        Bad(
            "a header that claims 8 TB",
            EVAL,
            member("zeros", np.zeros(3), header=(b"(3,), }            ", b"(1000000000000,), }")),
        ),
        Bad("embeddings 10^9 wide", "tirgn predict model.npz --facts 3", described(config={"embedding_dim": 10**9})),
        Bad("10^9 layers", "tirgn retrain --from model.npz", described(config={"num_layers": 10**9})),
        Bad("settings of another version", EVAL, described(config={"gates": 3})),
        Bad("names for other entities", EVAL, described(entities=["a"])),
        Bad("a path that is a list", EVAL, described(data={"provenance": {"path": ["data"]}})),
        Bad("a clock from no time", EVAL, described(data={"clock_origin": "1970"})),
        Bad("another step than that of its data", f"{EVAL} --data-path data", described(data={"time_interval": 7})),
        Bad("data that is gone", EVAL, described(data={"provenance": {"kind": "folder", "path": "gone"}})),
        Bad("nothing to resume", RESUME),
        Bad(
            "a model in the place of a state",
            RESUME,
            lambda p: ((p / "models").mkdir(), shutil.copy(p / "model.npz", p / "models" / "tirgn_state.npz")),
        ),
        Bad("names that are missing", "tirgn retrain --from model.npz --data-path events.parquet"),
    ],
    "Names": [
        Bad("names of another kind", f"{EVAL} -q --data-path events.parquet", of_events(*"ABCD", then=table())),
        Bad("other counts without names", f"{EVAL} --data-path data", text("data/stat.txt", "7\t2\n")),
        Bad("a checkpoint without names", f"{EVAL} -q --data-path events.parquet"),
        Bad("a name that is not known", f"{NAMED} --subject Irak", of_events("Iran", "Iraq", "China", "USA")),
        Bad("a name that fits several", f"{NAMED} --subject iran", of_events("Iran", "IRAN", "iran ", "USA")),
    ],
    "Questions": [
        Bad("a file that is missing", ASK, theirs=r"(?<=read \().*(?=\);)"),
        Bad("columns that are missing", ASK, text("asked.csv", "subject,object\nA,\n")),
        Bad("a file without the names of the columns", ASK, text("asked.csv", "A;r;\n")),
        Bad("a name that is not known", ASK, text("asked.csv", "subject\trelation\tobject\n0\t0\t\n0\t7\t\n")),
        Bad("a row that is cut short", ASK, text("asked.csv", "subject,relation,object\n0,0\n")),
        Bad("letters of Windows", ASK, text("asked.csv", "subject,relation,object\nC\xf4te,0,\n".encode("latin-1"))),
        Bad("two empty cells", ASK, text("asked.csv", "subject,relation,object\nA,,\n")),
        Bad("no rows", ASK, text("asked.csv", "subject,relation,object\n")),
        Bad("a packed table", ASK, text("asked.csv", b"\x1f\x8b\x08" + b"\0" * 99)),
        Bad(
            "names that are lists",
            ASK.replace("asked.csv", "asked.parquet"),
            lambda place: pl.DataFrame({"subject": [["A"]], "relation": ["r"], "object": [None]}).write_parquet(
                place / "asked.parquet"
            ),
        ),
        Bad("a time in words", "tirgn predict model.npz --subject 0 --relation 0 --at soon"),
    ],
    "Raw event files": [
        Bad("a path that does not exist", "tirgn data ingest raw --out made.parquet"),
        Bad("a folder without event files", "tirgn data ingest data --out made.parquet"),
        Bad("no line of GDELT's", "tirgn data ingest a.csv --out made.parquet", text("a.csv", "a,b\n\x1b[31m\n")),
        Bad("values in quotes", "tirgn data ingest a.csv --out made.parquet", text("a.csv", gdelt(quotes=True))),
        Bad("times that a spreadsheet rounded", "tirgn data ingest a.csv --out made.parquet", text("a.csv", gdelt())),
        Bad("a tar archive", "tirgn data ingest a.tar.gz --out made.parquet", tarred),
        Bad("a zip bomb", "tirgn data ingest raw --out made.parquet", zipped("a.export.CSV.zip", bytes(80_000_000))),
        Bad("a zip file that is none", "tirgn data ingest a.zip --out made.parquet", text("a.zip", "text")),
        Bad("a table that no ingest made", "tirgn data ingest a.csv --out events.parquet", text("a.csv", "x"), 2),
        Bad(
            "a table whose record is damaged",
            "tirgn data ingest a.csv --out events.parquet",
            lambda p: (
                text("a.csv", "x")(p),
                events().write_parquet(p / "events.parquet", metadata={"tirgn.ingest": DEEP}),
            ),
            2,
        ),
    ],
    "Folders of TGB": [
        *(
            Bad(what, "tirgn data stats tgb", tgb("tkgl-icews_edgelist.csv", content))
            for what, content in (
                ("no header", "1,0,1,0\n"),
                ("a header alone", "timestamp,head,tail,relation\n"),
                ("one fact", "timestamp,head,tail,relation\n1,0,1,0\n"),
                ("a column that is missing", "timestamp,head,tail,relation\n1,0,1\n"),
                ("an empty field", "timestamp,head,tail,relation\n1,0,,0\n"),
                ("a word for a number", "timestamp,head,tail,relation\n1,China,1,0\n"),
                ("columns without known names", "when,head,tail,note,relation\n1,0,1,x,0\n"),
                ("two facts on one line", "timestamp,head,tail,relation\n1,0,1,0,1,1,0,0\n"),
            )
        ),
        Bad(
            "a time that is none",
            "tirgn data stats tgb",
            tgb("tkgl-smallpedia_edgelist.csv", "timestamp,head,tail,relation\nsoon,Q1,Q2,P1\n"),
        ),
        Bad("the protocol of TGB for other data", "tirgn eval model.npz --data-path data --protocol tgb", nothing, 2),
        Bad("a protocol that does not exist", "tirgn eval model.npz --protocol ogb", nothing, 2),
        Bad("the protocol of TGB with several steps", "tirgn eval model.npz --protocol tgb --multi-step", nothing, 2),
        *(
            Bad(what, "tirgn eval model.npz --data-path wiki --protocol tgb", negatives(content))
            for what, content in (
                ("negatives that are missing", None),
                ("negatives that are text", b"text"),
                ("negatives that are code", b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02ls\x85R."),
                ("negatives that are cut off", b"\x80\x05}(K\x01"),
                ("negatives that announce more than there is", b"\x80\x05}(\x8e\x00\x00\x00\x00\x00\x01\x00\x00"),
                ("negatives without a question", b"\x80\x05}."),
            )
        ),
    ],
    "Searches": [
        Bad(what, f"tirgn tune --data-path data --study study.journal {words}".strip(), make, code)
        for what, words, make, code in (
            ("a setting that does not exist", "--param dropot=0:0.5", nothing, 2),
            ("a setting without a range", "--param dropout", nothing, 2),
            ("a range upside down", "--param dropout=0.5:0.1", nothing, 2),
            ("a range that the setting cannot have", "--param dropout=0:2", nothing, 2),
            ("a range by magnitude from 0", "--param learning_rate=0:1e-2:log", nothing, 2),
            ("a range of words", "--param loss=full:shared", nothing, 2),
            ("a range with impossible numbers inside", "--param conv_kernel=1:5", nothing, 2),
            ("a choice twice", "--param batch_size=256,256", nothing, 2),
            ("what every trial has in common", "--param epochs=1:9", nothing, 2),
            ("a setting given twice", "--param dropout=0:0.5 --set dropout=0.2", nothing, 2),
            ("a setting without a meaning", "--param angle=1:9", nothing, 2),
            ("nothing to search", "--only", nothing, 2),
            ("a pruner that does not exist", "--pruner medium", nothing, 2),
            ("parts trained apart", "--set history=evidence", nothing, 2),
            ("a study that is text", "", text("study.journal", "text\n"), 1),
            ("a study that is cut up", "", text("study.journal", '{"op_code":0}\n'), 1),
            ("a study of another program", "", text("study.journal", OTHER_STUDY), 1),
            ("a study of other data and settings", "", text("study.journal", SAME_NAME), 2),
            ("a study that is a folder", "", lambda p: (p / "study.journal").mkdir(), 1),
            ("folders of another study", "", lambda p: (p / "trial-0000").mkdir(), 1),
        )
    ],
    "Published data": [
        Bad("a name that does not exist", "tirgn data get YAGOO", nothing, 2),
        Bad("a source without it", "tirgn data get YAGO --from data/none", nothing, 2),
        Bad("no address", "tirgn data get YAGO --from ftp://example.org", nothing, 2),
        Bad("another file in its place", "tirgn data get YAGO --from data --out data"),
        Bad("another file at the source", "tirgn data get YAGO --from data --out new"),
    ],
    "Pages": [
        Bad("a folder without a checkpoint", "tirgn report data"),
        Bad("a file that is no checkpoint", "tirgn report data/train.txt"),
        Bad("a run that is missing", "tirgn report models/none"),
        Bad("more runs than a page holds", "tirgn report" + 7 * " model.npz", nothing, 2),
        Bad("a split that does not exist", "tirgn report model.npz --split train", nothing, 2),
        Bad("a page where a folder is", "tirgn report model.npz --out data", nothing, 2),
    ],
    "Released weights": [
        Bad("a file that is missing", IMPORT.replace("state", "weights")),
        Bad("no archive", IMPORT, text("state.npz", "text"), theirs=r"(?<=archive: ).*(?=\);)"),
        Bad("pickled code", IMPORT, tensors(lambda state: state.update(evil=np.array([{}], object)))),
        Bad("a tensor that is missing", IMPORT, tensors(lambda state: state.pop("emb_rel"))),
        Bad("a tensor too many", IMPORT, tensors(lambda state: state.update({"rgcn.layers.x": np.zeros(1)}))),
        Bad("other data", IMPORT),
        Bad(
            "whole numbers for weights", IMPORT, tensors(lambda state: state.update(dynamic_emb=np.zeros((6, 8), int)))
        ),
    ],
}


def run(case: Bad, base: Path, place: Path) -> Result:
    """What the command says about the input, made in `place`, a copy of `base`."""
    shutil.copytree(base, place)
    before = os.getcwd()
    os.chdir(place)
    try:
        case.make(Path())
        plain = {"NO_COLOR": "1", "COLUMNS": "80", "TERM": "dumb", "TIRGN_DEBUG": None}
        return CliRunner(env=plain).invoke(app, shlex.split(case.command)[1:], prog_name="tirgn")
    finally:
        os.chdir(before)


def neutral(case: Bad, stderr: str, place: Path) -> str:
    """The message without what differs from place to place and between versions of other libraries."""
    message = stderr.removeprefix("error: ").rstrip("\n").replace(f"{place}/", "")
    return re.sub(case.theirs, "…", message, count=1)


def row(case: Bad, message: str) -> str:
    short = re.sub(r"(\d)\1{40,}", r"\1\1\1…", case.command).replace("\x1b", "\\x1b").replace("\n", "\\n")
    ticks = "``" if "`" in message else "`"
    cells = (case.what, f"`{short}`", f"{ticks} {message} {ticks}" if ticks == "``" else f"`{message}`", str(case.code))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def document(messages: dict[str, list[str]]) -> str:
    """The page of all messages, by group."""
    parts = [HEAD]
    for group, cases in CASES.items():
        rows = [row(case, message) for case, message in zip(cases, messages[group])]
        head = ["| what is wrong | command | message | exit code |", "|---|---|---|---|"]
        parts.append("\n".join([f"## {group}\n", *head, *rows]) + "\n")
    return "\n".join(parts)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python tests/cli/bad_inputs.py FILE")
    with tempfile.TemporaryDirectory() as work:
        base = Path(work).resolve() / "base"
        base.mkdir()
        world(base)
        told: dict[str, list[str]] = {}
        for group, cases in CASES.items():
            places = [Path(work).resolve() / f"{group}-{number}" for number in range(len(cases))]
            told[group] = [neutral(c, run(c, base, p).stderr, p) for c, p in zip(cases, places)]
    Path(sys.argv[1]).write_text(document(told), encoding="utf-8")


if __name__ == "__main__":
    main()
