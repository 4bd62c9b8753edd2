"""The table of bad inputs: what is wrong, the command, how its files are made, and the exit code."""

import gzip
import json
import shutil
import zipfile
from typing import NamedTuple

import numpy as np
import polars as pl

from tests.cli.bad_input_files import (
    HEADER,
    Make,
    described,
    events,
    gdelt,
    journal,
    line,
    member,
    negatives,
    nothing,
    of_events,
    of_evidence,
    parts,
    rates,
    recorded,
    scored,
    stored,
    table,
    tarred,
    tensors,
    text,
    tgb,
    weights,
    zipped,
)
from tests.ingest.archive_files import ICEWS_HEADER, POLECAT_HEADER, icews, polecat
from tirgn_eqx.ingest.api import ingest
from tirgn_eqx.ingest.options import IngestOptions


class Case(NamedTuple):
    """A bad input. `make` makes its files; `theirs` matches the part of the message that another library wrote."""

    what: str
    command: str
    make: Make = nothing
    code: int = 1
    theirs: str = "(?!)"


STATS, TRAIN, EVAL = "tirgn data stats data", "tirgn train --config run.toml", "tirgn eval model.npz"
IMPORT = "tirgn import-torch state.npz --data-path data --out out.npz"
NAMED = "tirgn predict model.npz -q --relation 010"
SCORES = "tirgn eval --scores scores.parquet --data-path data"
ASK = "tirgn predict model.npz --queries asked.csv --out answers.csv"
DEEP = "[" * 100_000
MAPPED = "tirgn data stats mapped"
FEW_AND_MANY = (b"(60,), }".ljust(19), b"(1000000000000,), }")
PARQUET = r"(?<=file \().*(?=\);)"
TYPER = r"((?<=for '--epochs')|(?<=for '--num-days')|(?<=for '--horizon')).*(?=; see)"
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
CASES: dict[str, list[Case]] = {
    "Options": [
        Case(what, f"tirgn {command}", code=2, theirs=TYPER)
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
            ("a tracker that does not exist", "train --tracker neptune"),
            ("an axis that no mesh has", "train --mesh rows=2"),
            ("a mesh without sizes", "train --mesh data,entity"),
            ("a mesh of more devices than there are", "train --mesh data=64,entity=64"),
            ("a process without the others", "train --process-id 1"),
            ("a coordinator without its port", "train --coordinator node1 --num-processes 2 --process-id 0"),
            ("events, resumed", "train --model events --resume"),
            ("events, refitted", "train --model events --refit"),
            ("a recipe for events", "train --model events --recipe exact"),
            ("a use of the history for events", "train --model events --history mask"),
            ("a part of a mixture for events", "train --model events --structure model.npz"),
            ("events on a mesh", "train --events model.npz --mesh data=2"),
            ("events beside another model to train", "train --events model.npz --model regcn"),
            ("a base that would be written over", "train --events model.npz --model-dir ."),
            ("events to tune", "tune --model events"),
            ("no checkpoint", "eval"),
            ("a split without facts to forecast", "eval model.npz --split train"),
            ("a filter that does not exist", "eval model.npz --filter static"),
            ("a filter of another protocol", "eval model.npz --online --filter all"),
            ("feedback without --multi-step", "eval model.npz --feed-back"),
            ("a model that does not exist", "eval model.npz --model gru"),
            ("events by a model that ranks", "eval model.npz --events --model tirgn"),
            ("a horizon without events", "eval model.npz --horizon 7"),
            ("a horizon that no rate was trained for", "eval model.npz --events --horizon 7,365"),
            ("nothing to audit", "audit"),
            ("a checkpoint and a function to audit", "audit model.npz --model counting:forecast"),
            ("a ranking beside a checkpoint", "audit model.npz --ranks counting:rank"),
            ("a function without its module", "audit --model forecast"),
            ("a module that does not exist", "audit --model no_such_module:forecast"),
            ("a tolerance that is not finite", "audit --model json:dumps --tolerance inf"),
            ("a mapping of relations without data to map", "eval model.npz --map-relations by-name"),
            ("a mapping of relations that does not exist", "predict model.npz --map-relations by-id --facts 3"),
            ("a calibration for other data", "eval model.npz --data-path data --map-relations by-name --calibrate"),
            ("mapped relations of a model of entities", "eval model.npz --data-path data --map-relations by-name"),
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
            ("a source that does not exist", "data ingest raw --source icew"),
            ("a relation of another source", "data ingest raw --source icews --relation type"),
            ("a time that ICEWS does not tell", "data ingest raw --source icews --time added"),
            ("mentions that POLECAT does not count", "data ingest raw --source polecat --min-mentions 2"),
            ("words that do not exist", "data stats events.parquet --static-words sectors"),
            ("words that the settings leave out", "train --static-words name --set static_graph=false"),
            ("words of an event table", "data convert events.parquet --static-words name --out made.parquet"),
            ("nothing to forecast", "predict model.npz"),
            ("scores in a table of text", "predict model.npz --all-scores scores.csv"),
            ("a few answers and all scores", "predict model.npz --all-scores scores.parquet --top 3"),
            ("a split of forecasts", "predict model.npz --facts 3 --split valid"),
            ("nothing to export", "export model.npz"),
            ("a time of all arrays", "export model.npz --safetensors made --at newest"),
            ("data that are not read", "export model.npz --embeddings made.parquet --data-path data"),
            ("vectors in a table of text", "export model.npz --embeddings made.csv"),
            ("arrays over their checkpoint", "export model.npz --safetensors model.npz"),
            ("two outputs in one file", "export model.npz --embeddings made.parquet --safetensors made.parquet"),
            ("scores over their events", "predict model.npz --data-path events.parquet --all-scores events.parquet"),
            ("a horizon for who", "predict model.npz --subject 0 --relation 0 --horizon 7"),
            ("an order without facts", "predict model.npz --subject 0 --relation 0 --by lift"),
            ("a number of answers for facts", "predict model.npz --facts 3 --top 3"),
            ("queries without a place for answers", "predict model.npz --queries asked.csv"),
            ("a skill above 1", "score journal --min-skill 2"),
            ("a least skill of no journal", "retrain --from model.npz --min-skill 0"),
            ("a journal of a model that ranks", "predict model.npz --facts 3 --journal journal"),
            ("a checkpoint of another kind", "import-torch state.npz --data-path data --out model.pt"),
            ("a checkpoint over its weights", "import-torch state.npz --data-path data --out state.npz"),
            ("a world option that does not exist", "data stats sim:entities=3"),
            ("a world option that is no number", "data stats sim:seed=x1"),
        )
    ],
    "Files of settings": [
        Case("a file that is missing", TRAIN, code=2),
        Case("a folder", TRAIN, lambda place: (place / "run.toml").mkdir(), 2),
        Case("a setting that does not exist", TRAIN, text("run.toml", "epoch = 3\n"), 2),
        Case("a setting of another type", TRAIN, text("run.toml", 'epochs = "three"\n'), 2),
        Case(
            "settings of a base without its checkpoint",
            TRAIN,
            text("run.toml", 'family = "events"\n\n[base]\nfamily = "evidence"\n'),
            2,
        ),
        Case("no TOML", TRAIN, text("run.toml", "epochs = = 3\n"), 2, r"(?<=valid toml: ).*(?=;)"),
        Case("no UTF-8", TRAIN, text("run.toml", b"\xff\xfe"), 2, r"(?<=valid toml: ).*(?=;)"),
        Case("TOML nested 100,000 deep", TRAIN, text("run.toml", f"epochs = {DEEP}"), 2),
        Case("JSON nested 100,000 deep", "tirgn train --config run.json", text("run.json", DEEP), 2),
        Case("JSON that is a list", "tirgn train --config run.json", text("run.json", "[]"), 2),
        Case("longer than any settings", TRAIN, text("run.toml", "#" * 2_000_000), 2),
    ],
    "Data folders": [
        Case("a path that does not exist", "tirgn data stats nowhere"),
        Case("a name with an escape sequence", "tirgn data stats '\x1b[31mred\nline'"),
        Case("a file of another kind", "tirgn train --data-path notes.txt", text("notes.txt", "x")),
        Case("a file that is missing", STATS, lambda place: (place / "data/stat.txt").unlink()),
        Case("10^12 entities", STATS, text("data/stat.txt", "1000000000000\t2\n")),
        Case("2,000,000,000 entities for 60 facts", STATS, text("data/stat.txt", "2000000000\t2\n")),
        Case("two lines of counts", STATS, line("data/stat.txt", "6\t2\n")),
        Case("a word for an id", STATS, line("data/valid.txt", "1\tx\t2\t8\n")),
        Case("a number of 5,000 digits", STATS, line("data/valid.txt", f"{'9' * 5000}\t0\t2\t8\n")),
        Case("an id beyond the count", STATS, line("data/valid.txt", "9\t0\t2\t8\n")),
        Case("a time beyond 2^53", STATS, line("data/valid.txt", "1\t0\t2\t9007199254740993\n")),
        Case("too few columns", STATS, line("data/valid.txt", "1\t0\t2\n")),
        Case("facts without times", STATS, text("data/train.txt", "1\t0\t2\n")),
        Case("two facts on one line", STATS, line("data/valid.txt", "1\t0\t2\t8\t1\t0\t3\t8\n")),
        Case("commas between the columns", STATS, text("data/train.txt", "1,0,2,0\n")),
        Case("half a step of time", STATS, line("data/valid.txt", "1\t0\t2\t8.5\n")),
        Case("a date among numbers", STATS, line("data/valid.txt", "1\t0\t2\t2014-01-09\n")),
        Case("bytes that were never written", STATS, line("data/test.txt", "\0\0\0\0")),
        Case("the end mark of old systems", STATS, line("data/test.txt", "\x1a")),
        Case("a file in UTF-16", STATS, text("data/train.txt", "1\t0\t2\t0\n".encode("utf-16"))),
        Case("a split that is missing", STATS, lambda place: (place / "data/valid.txt").unlink()),
        Case("a split without facts", STATS, text("data/test.txt", "")),
        Case("splits that overlap in time", STATS, line("data/train.txt", "1\t0\t2\t9\n")),
        Case("a line without end", STATS, text("data/train.txt", b"1" * 100_000)),
        Case("names that are not UTF-8", STATS, text("data/entity2id.txt", b"a\t0\n\xff\t1\n")),
        Case("names of which some stand behind their ids", STATS, text("data/entity2id.txt", "a\t0\n1\tb\n")),
        Case("two columns of ids", STATS, text("data/entity2id.txt", "a\t0\t1\nb\t1\t0\n")),
        Case("two names for an id", STATS, text("data/entity2id.txt", "a\t0\n<b>\x1b[2J</b>\t0\n")),
        Case("a word with id 2,000,000,000", STATS, text("data/e-w-graph.txt", "0\t0\t2000000000\n")),
        Case("a world of 10^12 facts", "tirgn data stats sim:num_days=100000,num_relations=10000,facts_per_day=1e7"),
    ],
    "Event tables": [
        Case("no parquet file", "tirgn data stats a.parquet", text("a.parquet", "text"), theirs=PARQUET),
        Case(
            "a footer that is cut off",
            "tirgn data stats a.parquet",
            text("a.parquet", b"PAR1" + b"\0" * 99),
            theirs=PARQUET,
        ),
        Case("columns that are missing", "tirgn data stats events.parquet", table(entity1=None)),
        Case("columns of words that are missing", "tirgn data stats events.parquet --static-words country"),
        Case("values that are null", "tirgn data stats events.parquet", table(entity2=pl.lit(None, pl.String))),
        Case("names that are lists", "tirgn data stats events.parquet", table(entity1=pl.lit([[1]] * 10).list.first())),
        Case("no times", "tirgn data stats events.parquet", table(timestamp=pl.lit("soon"))),
        Case(
            "times of the year 292,277",
            "tirgn data stats events.parquet",
            table(timestamp=pl.lit(2**62).cast(pl.Datetime("us"))),
        ),
        Case("one time", "tirgn data stats events.parquet", table(timestamp=pl.lit(20180101))),
        Case("a step that does not exist", "tirgn data stats events.parquet --granularity week", code=2),
        Case("a 0 among dates", "tirgn data stats events.parquet", table(timestamp=pl.Series([0, *[20180101] * 9]))),
        Case("day or month first", "tirgn data stats events.parquet", table(timestamp=pl.lit("01/02/2021"))),
        Case(
            "dates of Excel, or steps",
            "tirgn data stats events.parquet",
            table(timestamp=pl.int_range(43_101, 43_111, eager=True)),
        ),
        Case(
            "a wrong unit",
            "tirgn data stats events.parquet",
            table(timestamp=pl.int_range(1_515_456_000, 1_515_456_010, eager=True).cast(pl.Datetime("ms"))),
        ),
        Case("a form of times that does not exist", "tirgn data stats events.parquet --time-format unix", code=2),
        Case("a role that does not exist", "tirgn data stats events.parquet --columns who=entity1", code=2),
        Case("a column that is missing", "tirgn data stats events.parquet --columns entity1=who"),
        Case(
            "two facts on a line",
            "tirgn data stats a.csv",
            text("a.csv", f"{HEADER}\nA,r,B,2021-03-01A,r,B,2021-03-02\n"),
        ),
        Case(
            "text in another encoding",
            "tirgn data stats a.csv",
            text("a.csv", f"{HEADER}\nPer\xfa,r,B,1\n".encode("latin-1")),
        ),
        Case("a table without names of columns", "tirgn data stats a.csv", text("a.csv", "A,r,B,2021-03-01\n")),
        Case("a bomb", "tirgn data stats a.csv.gz", text("a.csv.gz", gzip.compress(bytes(80_000_000)))),
        Case("a JSON array", "tirgn data stats a.ndjson", text("a.ndjson", '[{"entity1": "A"}]\n')),
        Case("no Arrow file", "tirgn data stats a.arrow", text("a.arrow", "text"), theirs=PARQUET),
        Case("parts of several forms", "tirgn data stats a", lambda place: parts(place, "1.csv", "2.parquet")),
        Case("a folder without parts", "tirgn data stats a.parquet", lambda place: (place / "a.parquet").mkdir()),
    ],
    "Mapped graphs": [
        Case("a record that is no JSON", STATS, text("data/graph.json", DEEP)),
        Case("a record of something else", STATS, text("data/graph.json", '{"format": "\\u001b[31m"}')),
        Case("10^12 facts", MAPPED, recorded(facts=10**12)),
        Case("2,000,000,000 entities for 60 facts", MAPPED, recorded(num_entities=2 * 10**9)),
        Case("columns of another folder", MAPPED, recorded(folder="../data")),
        Case("columns that are gone", MAPPED, recorded(folder="facts-0123456789abcdef-1")),
        Case("another version", MAPPED, recorded(version=9)),
        Case("a column that is cut off", MAPPED, stored("subject", lambda raw: raw[:-4])),
        Case("a column that is pickled", MAPPED, stored("subject", lambda raw: raw.replace(b"'<i4'", b"'|O' "))),
        Case("a header that claims 4 TB", MAPPED, stored("subject", lambda raw: raw.replace(*FEW_AND_MANY))),
        Case("a column of another type", MAPPED, stored("subject", lambda raw: raw.replace(b"<i4", b"<f4"))),
        Case("an id beyond the count", MAPPED, stored("subject", lambda raw: raw[:-4] + b"\x09\0\0\0")),
        Case("a flipped bit", MAPPED, stored("subject", lambda raw: raw[:-4] + b"\0\0\0\0")),
        Case("a place that holds something else", "tirgn data map data --out data", code=2),
        Case("no place", "tirgn data map data", code=2),
        Case("a source that does not exist", "tirgn data map nowhere --out mapped"),
    ],
    "Converted data": [
        Case("no times", "tirgn data convert data --out made", text("data/train.txt", "0 0 1\n")),
        Case("two times", "tirgn data convert two.txt --out made", text("two.txt", "0 0 1 5\n0 0 1 6\n")),
        Case("a split that is empty", "tirgn data convert data --split 5/100 --out made"),
        Case(
            "a name with a space before it",
            "tirgn data convert events.parquet -q --out made",
            table(entity2=pl.lit(" B")),
        ),
        Case("times that mean nothing", STATS, text("data/times.json", '{"unit_seconds": "day"}')),
    ],
    "Checkpoints": [
        Case("a file that is missing", "tirgn eval modle.npz"),
        Case("a folder", "tirgn eval data"),
        Case("no checkpoint", EVAL, text("model.npz", "text")),
        Case("an archive without metadata", "tirgn eval state.npz"),
        Case(
            "a file that is cut short",
            EVAL,
            lambda p: text("model.npz", (p / "model.npz").read_bytes()[:3000])(p),
            theirs=r"(?<=archive: ).*(?=; corrupt)",
        ),
        Case("another sha256 than beside it", EVAL, text("model.json", json.dumps({"sha256": "0" * 64}))),
        Case("an array that is missing", EVAL, weights(lambda arrays: arrays.pop("encoder.relation_embedding"))),
        Case(
            "an array of another shape",
            EVAL,
            weights(lambda arrays: arrays.update({"encoder.entity_embedding": np.zeros((6, 5), np.float32)})),
        ),
        Case(
            "an array of another type",
            EVAL,
            weights(lambda arrays: arrays.update({"encoder.entity_embedding": np.zeros((6, 4), int)})),
        ),
        Case(
            "an array too many",
            "tirgn compare model.npz recurrency",
            weights(lambda arrays: arrays.update(spare=np.zeros(1))),
        ),
        Case("another model than asked for", "tirgn eval model.npz --model evidence"),
        Case("a model that does not exist", EVAL, described(model_type="\x1b[31mgru")),
        Case("pickled code", EVAL, member("evil", np.array([{}], object))),
        Case("a packed array, as of a zip bomb", EVAL, member("zeros", np.zeros(10**6), zipfile.ZIP_DEFLATED)),
        Case(
            "a header that claims 8 TB",
            EVAL,
            member("zeros", np.zeros(3), header=(b"(3,), }            ", b"(1000000000000,), }")),
        ),
        Case("embeddings 10^9 wide", "tirgn predict model.npz --facts 3", described(config={"embedding_dim": 10**9})),
        Case("10^9 layers", "tirgn retrain --from model.npz", described(config={"num_layers": 10**9})),
        Case("settings of another version", EVAL, described(config={"gates": 3})),
        Case("names for other entities", EVAL, described(entities=["a"])),
        Case("a path that is a list", EVAL, described(data={"provenance": {"path": ["data"]}})),
        Case("a clock from no time", EVAL, described(data={"clock_origin": "1970"})),
        Case("another step than that of its data", f"{EVAL} --data-path data", described(data={"time_interval": 7})),
        Case("data that is gone", EVAL, described(data={"provenance": {"kind": "folder", "path": "gone"}})),
        Case("nothing to resume", RESUME),
        Case(
            "a model in the place of a state",
            RESUME,
            lambda p: ((p / "models").mkdir(), shutil.copy(p / "model.npz", p / "models" / "tirgn_state.npz")),
        ),
        Case("names that are missing", "tirgn retrain --from model.npz --data-path events.parquet"),
    ],
    "Audited functions": [
        Case(
            "a module that needs what is not there",
            "tirgn audit --model bad_import:forecast",
            text("bad_import.py", "import no_such_package\n"),
            code=2,
        ),
        Case(
            "a module that fails", "tirgn audit --model bad_module:forecast", text("bad_module.py", "1 / 0\n"), code=2
        ),
        Case(
            "a name that is no function",
            "tirgn audit --model bad_name:forcast",
            text("bad_name.py", "def forecast(request): ...\n"),
            code=2,
        ),
        Case(
            "a function that fails",
            "tirgn audit --model bad_function:forecast --data-path data",
            text("bad_function.py", "def forecast(request):\n    raise KeyError('Q7')\n"),
        ),
        Case(
            "scores of another shape",
            "tirgn audit --model bad_shape:forecast --data-path data",
            text("bad_shape.py", "def forecast(request):\n    return [[0.5]]\n"),
        ),
        Case(
            "scores that are not numbers",
            "tirgn audit --model bad_scores:forecast --data-path data",
            text(
                "bad_scores.py",
                "import numpy as np\n\n\ndef forecast(request):\n"
                "    return np.full((len(request.queries), request.num_entities), np.nan)\n",
            ),
        ),
        Case(
            "places that are no ranks",
            "tirgn audit --model bad_ranks:forecast --ranks bad_ranks:rank --data-path data",
            text(
                "bad_ranks.py",
                "import numpy as np\n\n\ndef forecast(request):\n"
                "    return np.zeros((len(request.queries), request.num_entities))\n\n\n"
                "def rank(request, scores, answers):\n    return np.zeros(len(answers))\n",
            ),
        ),
        Case(
            "a ranking that fails",
            "tirgn audit --model bad_ranking:forecast --ranks bad_ranking:rank --data-path data",
            text(
                "bad_ranking.py",
                "import numpy as np\n\n\ndef forecast(request):\n"
                "    return np.zeros((len(request.queries), request.num_entities))\n\n\n"
                "def rank(request, scores, answers):\n    raise KeyError('Q7')\n",
            ),
        ),
    ],
    "Names": [
        Case("names of another kind", f"{EVAL} -q --data-path events.parquet", of_events(*"ABCD", then=table())),
        Case("other counts without names", f"{EVAL} --data-path data", text("data/stat.txt", "7\t2\n")),
        Case("a checkpoint without names", f"{EVAL} -q --data-path events.parquet"),
        Case("a name that is not known", f"{NAMED} --subject Irak", of_events("Iran", "Iraq", "China", "USA")),
        Case("a name that fits several", f"{NAMED} --subject iran", of_events("Iran", "IRAN", "iran ", "USA")),
    ],
    "Journals": [
        Case("a folder without one", "tirgn score data"),
        Case("a line that is no forecast", "tirgn score journal", journal('{"id": "0"}\n')),
        Case(
            "a line that is no JSON", "tirgn score journal", journal("forecasts\n"), theirs=r"(?<=line: ).*(?=; give)"
        ),
        Case("a line of 1 MiB", "tirgn score journal", journal('{"id": "' + "0" * 2**20)),
        Case(
            "a journal of a model that ranks",
            "tirgn retrain --from model.npz --journal journal",
            of_events("Iran", "Iraq", "China", "USA"),
            2,
        ),
    ],
    "Explanations": [
        Case("a model without evidence", "tirgn explain model.npz --rules", nothing, 2),
        Case("an option of rules alone", "tirgn explain model.npz --top 3", nothing, 2),
        Case("an option of forecasts alone", "tirgn explain model.npz --rules --split valid", nothing, 2),
        Case("a model that knows valid", "tirgn explain model.npz --rules", of_evidence(refit=True), 2),
        Case("a relation that is not known", "tirgn explain model.npz -q --rules --relation 7", of_evidence()),
    ],
    "Queries": [
        Case("a file that is missing", ASK, theirs=r"(?<=read \().*(?=\);)"),
        Case("columns that are missing", ASK, text("asked.csv", "subject,object\nA,\n")),
        Case("a file without the names of the columns", ASK, text("asked.csv", "A;r;\n")),
        Case("a name that is not known", ASK, text("asked.csv", "subject\trelation\tobject\n0\t0\t\n0\t7\t\n")),
        Case("a row that is cut short", ASK, text("asked.csv", "subject,relation,object\n0,0\n")),
        Case("letters of Windows", ASK, text("asked.csv", "subject,relation,object\nC\xf4te,0,\n".encode("latin-1"))),
        Case("two empty cells", ASK, text("asked.csv", "subject,relation,object\nA,,\n")),
        Case(
            "a whole fact among queries",
            ASK,
            text("asked.csv", "subject,relation,object\n0,0,\n0,,1\n0,0,1\n"),
        ),
        Case("facts for a model that only ranks", ASK, text("asked.csv", "subject,relation,object\n0,0,1\n"), 2),
        Case("no rows", ASK, text("asked.csv", "subject,relation,object\n")),
        Case("a packed table", ASK, text("asked.csv", b"\x1f\x8b\x08" + b"\0" * 99)),
        Case(
            "names that are lists",
            ASK.replace("asked.csv", "asked.parquet"),
            lambda place: pl.DataFrame({"subject": [["A"]], "relation": ["r"], "object": [None]}).write_parquet(
                place / "asked.parquet"
            ),
        ),
        Case("a time in words", "tirgn predict model.npz --subject 0 --relation 0 --at soon"),
    ],
    "Scores of other models": [
        Case("a checkpoint and scores", f"{SCORES} model.npz", scored(), 2),
        Case("no data", "tirgn eval --scores scores.parquet", scored(), 2),
        Case("what scores cannot do", f"{SCORES} --calibrate", scored(), 2),
        Case("steps of forecasts of events", f"{SCORES} --horizon 7", scored(), 2),
        Case("a file that is missing", SCORES, theirs=r"(?<=read \().*(?=\);)"),
        Case("a file of another kind", SCORES.replace("parquet", "csv"), text("scores.csv", "subject\n")),
        Case("no parquet", SCORES, text("scores.parquet", "text"), theirs=r"(?<=read \().*(?=\);)"),
        Case("an archive without scores", "tirgn eval --scores state.npz --data-path data"),
        Case("a column that is missing", SCORES, scored(time=None)),
        Case("neither scores nor ranks", SCORES, scored(scores=None)),
        Case("scores and ranks", SCORES, scored(answer=pl.lit(0), rank=pl.lit(1))),
        Case("an id that does not exist", SCORES, scored(subject=pl.col("subject") + 1)),
        Case("a name of data without names", SCORES, scored(relation=pl.lit("visit"))),
        Case("an id of 64 bits without a sign", SCORES, scored(relation=pl.lit(2**64 - 1, pl.UInt64))),
        Case("an id without end", SCORES, scored(relation=pl.lit(float("inf")))),
        Case("times without facts", SCORES, scored(time=pl.lit(10))),
        Case("a time that is none", SCORES, scored(time=pl.lit("soon"))),
        Case("nothing to predict", SCORES, scored(object=pl.lit(0))),
        Case("both parts empty", SCORES, scored(object=pl.lit(None))),
        Case("queries that are missing", SCORES, scored(time=pl.col("subject").fill_null(5) // 5 + 8)),
        Case("a query twice", SCORES, scored(subject=pl.col("subject") // 2)),
        Case("scores of fewer entities", SCORES, scored(scores=pl.col("scores").list.head(5))),
        Case("a score that is no number", SCORES, scored(scores=pl.col("scores").list.eval(pl.element() / 0 * 0))),
        Case("a list of words", SCORES, scored(scores=pl.lit(["A"]))),
        Case("ranks under an unknown filter", SCORES, scored(scores=None, answer=pl.lit(0), rank=pl.lit(1)), 2),
        Case("a rank of 0", f"{SCORES} --filter all", scored(scores=None, answer=pl.lit(0), rank=pl.lit(0))),
        Case(
            "other ids than it says",
            SCORES,
            lambda p: (
                scored()(p),
                pl.read_parquet(p / "scores.parquet").write_parquet(
                    p / "scores.parquet", metadata={"tirgn.vocabulary": '{"num_entities": 7, "num_relations": 2}'}
                ),
            ),
        ),
    ],
    "Raw event files": [
        Case("a path that does not exist", "tirgn data ingest raw --out made.parquet"),
        Case("a folder without event files", "tirgn data ingest data --out made.parquet"),
        Case("no line of GDELT's", "tirgn data ingest a.csv --out made.parquet", text("a.csv", "a,b\n\x1b[31m\n")),
        Case("values in quotes", "tirgn data ingest a.csv --out made.parquet", text("a.csv", gdelt(quotes=True))),
        Case("times that a spreadsheet rounded", "tirgn data ingest a.csv --out made.parquet", text("a.csv", gdelt())),
        Case("a file of another source", "tirgn data ingest a.tab --out made.parquet", text("a.tab", ICEWS_HEADER)),
        Case(
            "a file of GDELT",
            "tirgn data ingest a.csv --source icews --out made.parquet",
            text("a.csv", gdelt()),
        ),
        Case(
            "a file of POLECAT",
            "tirgn data ingest a.txt --source icews --out made.parquet",
            text("a.txt", POLECAT_HEADER),
        ),
        Case(
            "a header without a column",
            "tirgn data ingest a.tab --source icews --out made.parquet",
            text("a.tab", ICEWS_HEADER.replace(b"CAMEO Code", b"Code")),
        ),
        Case("an empty file", "tirgn data ingest a.tab --source icews --out made.parquet", text("a.tab", "")),
        Case(
            "a header alone", "tirgn data ingest a.tab --source icews --out made.parquet", text("a.tab", ICEWS_HEADER)
        ),
        Case(
            "ids that a spreadsheet rounded",
            "tirgn data ingest a.tab --source icews --out made.parquet",
            text("a.tab", ICEWS_HEADER + icews(1, Event_ID="2.07E+07")),
        ),
        Case(
            "a type of event that does not exist",
            "tirgn data ingest a.txt --source polecat --out made.parquet",
            text("a.txt", POLECAT_HEADER + polecat(1, Event_Type="YIELD")),
        ),
        Case("a tar archive", "tirgn data ingest a.tar.gz --out made.parquet", tarred),
        Case("a zip bomb", "tirgn data ingest raw --out made.parquet", zipped("a.export.CSV.zip", bytes(80_000_000))),
        Case("a zip file that is none", "tirgn data ingest a.zip --out made.parquet", text("a.zip", "text")),
        Case("a table that no ingest made", "tirgn data ingest a.csv --out events.parquet", text("a.csv", "x"), 2),
        Case(
            "a table whose record is damaged",
            "tirgn data ingest a.csv --out events.parquet",
            lambda p: (
                text("a.csv", "x")(p),
                events().write_parquet(p / "events.parquet", metadata={"tirgn.ingest": DEEP}),
            ),
            2,
        ),
        Case(
            "ids of repeated facts that are none",
            "tirgn data ingest b.tab --source icews --out made.parquet",
            lambda p: (
                text("a.tab", ICEWS_HEADER + icews(1) + icews(2))(p),
                ingest([p / "a.tab"], p / "made.parquet", IngestOptions("icews")),
                text("b.tab", ICEWS_HEADER + icews(3))(p),
                pl.DataFrame({"id": [2]}).write_parquet(p / "made.repeats.parquet"),
            ),
            2,
        ),
    ],
    "Folders of TGB": [
        *(
            Case(what, "tirgn data stats tgb", tgb("tkgl-icews_edgelist.csv", content))
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
        Case(
            "a time that is none",
            "tirgn data stats tgb",
            tgb("tkgl-smallpedia_edgelist.csv", "timestamp,head,tail,relation\nsoon,Q1,Q2,P1\n"),
        ),
        Case("the protocol of TGB for other data", "tirgn eval model.npz --data-path data --protocol tgb", nothing, 2),
        Case("a protocol that does not exist", "tirgn eval model.npz --protocol ogb", nothing, 2),
        Case("the protocol of TGB with several steps", "tirgn eval model.npz --protocol tgb --multi-step", nothing, 2),
        *(
            Case(what, "tirgn eval model.npz --data-path wiki --protocol tgb", negatives(content))
            for what, content in (
                ("negatives that are missing", None),
                ("negatives that are text", b"text"),
                ("negatives that are code", b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02ls\x85R."),
                ("negatives that are cut off", b"\x80\x05}(K\x01"),
                ("negatives that announce more than there is", b"\x80\x05}(\x8e\x00\x00\x00\x00\x00\x01\x00\x00"),
                ("negatives without a query", b"\x80\x05}."),
            )
        ),
    ],
    "Searches": [
        Case(what, f"tirgn tune --data-path data --study study.journal {words}".strip(), make, code)
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
        Case("a name that does not exist", "tirgn data get YAGOO", nothing, 2),
        Case("a source without it", "tirgn data get YAGO --from data/none", nothing, 2),
        Case("no address", "tirgn data get YAGO --from ftp://example.org", nothing, 2),
        Case("another file in its place", "tirgn data get YAGO --from data --out data"),
        Case("another file at the source", "tirgn data get YAGO --from data --out new"),
    ],
    "Pages": [
        Case("a folder without a checkpoint", "tirgn report data"),
        Case("a file that is no checkpoint", "tirgn report data/train.txt"),
        Case("a run that is missing", "tirgn report models/none"),
        Case("more runs than a page holds", "tirgn report" + 7 * " model.npz", nothing, 2),
        Case("a split that does not exist", "tirgn report model.npz --split train", nothing, 2),
        Case("a page where a folder is", "tirgn report model.npz --out data", nothing, 2),
        Case("a briefing of a model that does not forecast events", "tirgn brief model.npz"),
        Case("a briefing where a folder is", "tirgn brief model.npz --out data", nothing, 2),
        Case("a briefing over its checkpoint", "tirgn brief model.npz --out model.npz", nothing, 2),
        Case("a briefing over its data", "tirgn brief model.npz --data-path a.csv --out a.csv", text("a.csv", "x"), 2),
        Case("a briefing with a file for a journal", "tirgn brief model.npz --journal events.parquet", nothing, 2),
        Case("a briefing of no step", "tirgn brief model.npz --horizon 0", nothing, 2, TYPER),
        Case("a briefing of an actor that is not known", "tirgn brief events.npz -q --actor 'actor 9'", rates()),
        Case(
            "a briefing with figures that are none",
            "tirgn brief events.npz -q",
            rates(metrics={"event_test": {"horizons": [{"horizon": "week"}]}}),
        ),
        Case(
            "a briefing with a journal that is none",
            "tirgn brief events.npz -q --journal journal",
            rates(then=lambda p: ((p / "journal").mkdir(), text("journal/forecasts-2026-01-01.jsonl", "{}\n")(p))),
        ),
    ],
    "Released weights": [
        Case("a file that is missing", IMPORT.replace("state", "weights")),
        Case("no archive", IMPORT, text("state.npz", "text"), theirs=r"(?<=archive: ).*(?=\);)"),
        Case("pickled code", IMPORT, tensors(lambda state: state.update(evil=np.array([{}], object)))),
        Case("a tensor that is missing", IMPORT, tensors(lambda state: state.pop("emb_rel"))),
        Case("a tensor too many", IMPORT, tensors(lambda state: state.update({"rgcn.layers.x": np.zeros(1)}))),
        Case("other data", IMPORT),
        Case(
            "whole numbers for weights", IMPORT, tensors(lambda state: state.update(dynamic_emb=np.zeros((6, 8), int)))
        ),
    ],
}
