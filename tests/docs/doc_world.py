"""Where the documentation's commands run: small data under the names that the pages use, and smaller trainings.

What a reader sees is never changed. `options_for` adds options at the end of a command; the last one of its name
counts. `prepare` writes the files that a page takes for granted, in the same formats, a few kilobytes each.
"""

import datetime as dt
import sys
from pathlib import Path

import numpy as np

from tests.docs.doc_blocks import ROOT, blocks
from tests.gdelt_server import zipped
from tests.helpers import write_event_table

# One epoch of a narrow model over a few snapshots, whatever the page says. `--set=` of what each family has.
TRAINED = ["--epochs", "1", "--precision", "f32", "--eval-interval", "1"]
SHARED = ["--set=embedding_dim=8", "--set=max_buckets=1"]
RECURRENT = [*SHARED, "--set=conv_channels=2", "--set=static_blocks=2"]
SHORT = ["--num-layers", "1", "--history-len", "2"]
EVENTS = ["--epochs", "1", "--set=rate_hidden=4", "--set=snapshots_per_epoch=8"]
EVIDENCE = [*SHARED, "--set=evidence_heads=2", "--set=evidence_hidden=4"]
MORE = {
    # An epoch of a model that knows nothing may well be worse.
    "retrain": ["--epochs", "1", "--max-regression", "1"],
    "vram-probe": [*RECURRENT, *SHORT],
    "compare": ["--resamples", "100"],
}
# Pages whose commands ask for several devices: programs of their own, with as many CPUs as the largest mesh.
DEVICES = {"docs/many-devices.md": 8}
# Examples of `--help` stand each for itself: what others left there is gone before such a command.
FRESH = {"docs/cli.md": {"tune": "tuning", "data ingest data/gdelt/raw": "events.parquet"}}
# Of the page that is generated from `--help`, where a comment has no place.
NOT_RUN = {
    "docs/cli.md": {
        "tirgn train --data-path data/wikidata": "needs eight devices; docs/many-devices.md runs it",
        "tirgn data get": "fetches, or takes from a folder, the published files alone; tests of its own do",
    },
}
PEOPLE = ["UNITED STATES", "RUSSIA", "UKRAINE", "CHINA", "FRANCE", "GERMANY", "JAPAN", "INDIA"]
DEEDS = ["042_Q1", "010_Q1", "190_Q4", "112_Q3"]


def options_for(words: list[str], server: str | None) -> list[str]:
    """What is added to `tirgn WORDS`; `server`: address of the stand-in for GDELT's."""
    name = words[0] if words else ""
    if words[:2] == ["data", "collect"]:
        return ["--base-url", server, "--tries", "1"] if server else []
    more = list(MORE.get(name, ()))
    of_evidence = any(
        f"{option}{equals}evidence" in " ".join(words) for option in ("--model", "--preset") for equals in " ="
    )
    if name == "train" and "--model events" in " ".join(words):
        more += EVENTS
    elif name == "train":
        more += TRAINED + (EVIDENCE if of_evidence else [*RECURRENT, *SHORT, "--remat", "none", "--set=unroll=false"])
    if name == "train" and "--history evidence" in " ".join(words):
        more += [setting.replace("--set=", "--set=evidence.") for setting in ("--set=epochs=1", *EVIDENCE)]
    if name == "tune":
        more += ["--trials", "1", *TRAINED[:4], *(EVIDENCE if of_evidence else RECURRENT)]
        more += [] if "--param" in " ".join(words) else ["--param=history_len=1:2", "--only"]
    simulated = name in ("train", "tune", "baseline", "vram-probe") and "--shape" not in words
    if simulated and ("--data-path" not in words or "sim" in words):
        more += ["--num-days", "20"]
    return more


def happenings(first: dt.date, days: int, a_day: int = 12) -> list[tuple[str, str, str, dt.datetime]]:
    """Events that partly repeat, by name."""
    random, rows = np.random.default_rng(0), []
    for day in range(days):
        start = dt.datetime.combine(first + dt.timedelta(days=day), dt.time())
        for number in range(a_day):
            s = number % len(PEOPLE)
            o = (s + 1 + number % 3 + int(random.integers(0, 2))) % len(PEOPLE)
            deed = DEEDS[(number + (day if number % 4 == 0 else 0)) % len(DEEDS)]
            rows.append((PEOPLE[s], deed, PEOPLE[o], start + dt.timedelta(minutes=15 * number)))
    return rows


def write_events(path: Path, first: dt.date = dt.date(2018, 1, 2), days: int = 30) -> None:
    """An event table; its newest day is 31 January 2018, so that 1 February is the next step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_event_table(path, happenings(first, days))


def write_folder(place: Path, days: int = 14, static: bool = True) -> None:
    """A folder in the RE-GCN text format with names and, as ICEWS has it, a static graph."""
    place.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    entities, relations = ["China", "Japan", *PEOPLE[:2], *PEOPLE[4:]], ["Host_a_visit", "Consult", "Praise"]
    rows = [
        ((s + day) % len(entities), s % len(relations), (s + day + 1 + int(random.integers(0, 2))) % len(entities), day)
        for day in range(days)
        for s in range(len(entities))
    ]
    rows = [(s, r, o if o != s else (o + 1) % len(entities), t) for s, r, o, t in rows]
    for split, times in {
        "train": range(days - 4),
        "valid": range(days - 4, days - 2),
        "test": (days - 2, days - 1),
    }.items():
        (place / f"{split}.txt").write_text("".join(f"{s}\t{r}\t{o}\t{t}\n" for s, r, o, t in rows if t in times))
    (place / "stat.txt").write_text(f"{len(entities)}\t{len(relations)}\n")
    for kind, names in (("entity", entities), ("relation", relations)):
        (place / f"{kind}2id.txt").write_text("".join(f"{text}\t{number}\n" for number, text in enumerate(names)))
    if static:
        edges = "".join(f"{number}\t0\t{number % 3}\n" for number in range(len(entities)))
        (place / "e-w-graph.txt").write_text(edges)


def raw_files(first: dt.date, days: int, width: int = 61) -> dict[str, bytes]:
    """GDELT's own files by name, one a day, with the events of `happenings`."""
    from tests.ingest.raw_rows import raw

    files: dict[str, bytes] = {}
    rows = happenings(first, days)
    for number, (s, relation, o, time) in enumerate(rows):
        code, quad = relation.split("_Q")
        day = time.strftime("%Y%m%d")
        name = f"{day}000000.export.CSV" if width == 61 else f"{day}.export.CSV"
        fields = {"Actor1Name": s, "Actor2Name": o, "EventCode": code, "QuadClass": quad, "Day": day}
        fields["DATEADDED"] = f"{day}000000" if width == 61 else day
        files[name] = files.get(name, b"") + raw(10_000 + number, width, **fields)
    return files


def serve(gdelt) -> str:
    """Puts a month of both feeds on the stand-in for GDELT's server; returns its address."""
    from tirgn_eqx.gdelt.feed import FEEDS

    for feed, first, width in (("v2", dt.date(2024, 1, 1), 61), ("v1", dt.date(2014, 1, 1), 58)):
        for file, content in raw_files(first, 31 if feed == "v2" else 3, width).items():
            day = dt.datetime.strptime(file[:8], "%Y%m%d").replace(tzinfo=dt.UTC)
            gdelt.files[FEEDS[feed].path(day)] = zipped(file, content)
    lists = dict(gdelt.files)
    for feed in FEEDS:
        own = {path: content for path, content in lists.items() if ("gdeltv2" in path) == (feed == "v2")}
        gdelt.files, kept = own, gdelt.files
        gdelt.write_lists(FEEDS[feed])
        gdelt.files = kept | gdelt.files
    return gdelt.url


def write_raw(place: Path, first: dt.date, days: int) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for file, content in raw_files(first, days).items():
        (place / f"{file}.zip").write_bytes(zipped(file, content))


def write_archives(place: Path) -> None:
    """A month of ICEWS and of POLECAT as they are published."""
    from tests.ingest.archive_files import ICEWS_HEADER, POLECAT_HEADER, icews, polecat

    icews_lines, polecat_lines = ICEWS_HEADER, POLECAT_HEADER
    for number, (s, _, o, time) in enumerate(happenings(dt.date(2014, 1, 1), 30)):
        day, later = (f"{time + dt.timedelta(days=more):%Y-%m-%d}" for more in (0, 1))
        icews_lines += icews(number, Event_Date=day, Source_Name=s.title(), Target_Name=o.title(), Source_Country=s)
        polecat_lines += polecat(number, Event_Date=day, Publication_Date=later, Actor_Name=s, Recipient_Name=o)
    for name, data in (("icews/raw/events.2014.1.tab", icews_lines), ("polecat/raw/ngecEvents.txt", polecat_lines)):
        (place / "data" / name).parent.mkdir(parents=True)
        (place / "data" / name).write_bytes(data)


def write_released(place: Path) -> None:
    """Weights as the released code saves them, and the facts they belong to."""
    from tests.golden_case import FOLDER

    with np.load(FOLDER / "plain.npz") as archive:
        numbers = dict(archive)
    state = {key.removeprefix("state/"): value for key, value in numbers.items() if key.startswith("state/")}
    for file in ("state.npz", "released.npz"):
        np.savez(place / file, **state)
    data, facts = place / "data" / "YAGO", numbers["all_facts"]
    data.mkdir(parents=True)
    step = facts[:, 3] // numbers["cfg/time_interval"]
    for split, rows in {"train": step <= 6, "valid": step == 7, "test": step == 8}.items():
        np.savetxt(data / f"{split}.txt", facts[rows], fmt="%d", delimiter="\t")
    (data / "stat.txt").write_text("17\t5\n")


def prepare(place: Path, page: str) -> list[str]:
    """Writes what `page` takes for granted into `place`; returns the commands that make its checkpoints."""
    write_events(place / "events.parquet")
    write_folder(place / "data" / "ICEWS14s")
    write_released(place)
    (place / "queries.csv").write_text("subject,relation,object,time\nRUSSIA,190_Q4,,\n,042_Q1,CHINA,\n")
    folders = {
        "docs/large-graphs.md": ["data/large"],
        "docs/many-devices.md": ["data/wikidata"],
        "README.md": ["data/large"],
    }
    for folder in folders.get(page, ()):
        write_folder(place / folder)
    if page in ("docs/tgb.md", "docs/cli.md"):
        from tests.tgb_files import write

        write(place / "datasets" / "tkgl_smallpedia", "tkgl-smallpedia")
    if page in ("docs/cli.md", "docs/gdelt.md", "README.md"):
        write_raw(place / "data/gdelt/raw", dt.date(2023, 12, 1), 3)
        write_raw(place / "raw", dt.date(2023, 12, 1), 12)
        write_raw(place / "2018", dt.date(2018, 1, 1), 2)
        name, content = next(iter(raw_files(dt.date(2019, 1, 1), 1).items()))
        (place / "2019.zip").write_bytes(zipped(name, content))
    if page in ("docs/cli.md", "docs/icews-polecat.md", "docs/static-graph.md"):
        write_archives(place)
    if page in ("docs/audit.md", "docs/cli.md"):
        # The module that the page shows in its first block of Python.
        shown = next(block for block in blocks(ROOT / "docs" / "audit.md") if block.language == "python")
        (place / "counting.py").write_text(shown.text)
    table = "--data-path events.parquet"
    models = {
        "tkg": f"train {table} --model-dir models/tkg --logdir runs/tkg",
        "evidence": f"train {table} --model evidence --model-dir models/evidence --logdir runs/evidence",
        "icews": "train --data-path datasets/tkgl_smallpedia --model evidence --model-dir models/icews",
        "theirs": "predict models/tkg/tirgn_best.npz --all-scores theirs.parquet",
        "events": f"train {table} --model events --model-dir models/events --logdir runs/events",
        "relations": f"train {table} --model evidence --set evidence_background=false --model-dir models/relations",
        "yago": "train --data-path data/YAGO --preset yago --model-dir models/yago",
    }
    wanted = {
        "docs/cli.md": ["tkg", "theirs", "evidence", "icews", "relations", "events"],
        "docs/events.md": ["events"],
        "docs/audit.md": ["tkg"],
        "docs/rules.md": ["evidence"],
        "docs/retraining.md": ["tkg"],
        "docs/report.md": ["tkg", "evidence"],
        "README.md": ["tkg", "yago"],
    }
    return [models[model] for model in wanted.get(page, ())]


def names(page: str) -> dict[str, object]:
    """What the Python of a page takes as given."""
    if page != "docs/large-graphs.md":
        return {}
    random = np.random.default_rng(0)

    def block(day):
        return (*random.integers(0, 50, (3, 9)), np.full(9, day), np.full(9, max(0, day - 7), np.int8))

    return {"source": [block(day) for day in range(10)]}


if __name__ == "__main__":  # `tirgn` of a page's shell: the same options are added
    import os

    from tirgn_cli.app import app

    app([*sys.argv[1:], *options_for(sys.argv[1:], os.environ.get("STAND_IN_GDELT"))], prog_name="tirgn")
