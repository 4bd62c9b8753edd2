"""Facts of twenty days, and tables of them as files of every form."""

import datetime as dt
import gzip
from collections import Counter
from pathlib import Path

import polars as pl

from tirgn_eqx.data.readers.events import ReadingOptions, read_events

START = dt.datetime(2021, 3, 1, 1, 16, 47)
EPOCH = dt.datetime(1970, 1, 1)
ROLES = ("entity1", "relation", "entity2", "timestamp")


def rows(count=60):
    """Facts of 20 days as (name, name, name, datetime)."""
    step = dt.timedelta(days=20) / count
    return [(f"E{i % 7}", f"{10 + i % 4:03d}", f"E{i * 3 % 5}", START + i * step) for i in range(count)]


def frame(facts=None):
    return pl.DataFrame(rows() if facts is None else facts, schema=list(ROLES), orient="row")


def dated(graph, unit=60):
    """The facts of a graph by name, with their times in seconds."""
    columns = (graph.snapshot, graph.subject, graph.relation, graph.object)
    return Counter(
        (int(graph.times[at]) * unit, graph.entity_names[s], graph.relation_names[r], graph.entity_names[o])
        for at, s, r, o in zip(*columns)
    )


def written(facts):
    """The same of facts that were written, in snapshots of a quarter of an hour."""
    return Counter((int((t - EPOCH).total_seconds()) // 900 * 900, s, r, o) for s, r, o, t in facts)


def zstd(data: bytes) -> bytes:
    """A zstd file that holds its data unpacked."""
    blocks, size = b"", 100_000
    for begin in range(0, max(len(data), 1), size):
        part = data[begin : begin + size]
        blocks += (len(part) << 3 | (begin + size >= len(data))).to_bytes(3, "little") + part
    return b"\x28\xb5\x2f\xfd\xa0" + len(data).to_bytes(4, "little") + blocks


def packed(data: bytes, name: str) -> bytes:
    return gzip.compress(data) if name.endswith(".gz") else zstd(data) if name.endswith(".zst") else data


def as_text(table: pl.DataFrame, name: str) -> bytes:
    if "json" in name:
        return table.write_ndjson().encode()
    return table.write_csv(separator="\t" if ".tsv" in name or ".tab" in name else ",").encode()


def write(place: Path, table: pl.DataFrame, name: str) -> Path:
    """A table as a file whose form its name says."""
    path = place / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name.endswith((".parquet", ".pq")):
        table.write_parquet(path)
    elif name.endswith(".arrows"):
        table.write_ipc_stream(path)
    elif name.endswith((".arrow", ".feather", ".ipc")):
        table.write_ipc(path)
    else:
        path.write_bytes(packed(as_text(table, name), name))
    return path


def read(path, **options):
    return read_events(path, ReadingOptions(**{"num_days": 0, "granularity": "15min"} | options))


def split_up(place: Path, names: list[str], table=None) -> Path:
    table = frame() if table is None else table
    size = -(-table.height // len(names))
    for number, name in enumerate(names):
        write(place, table.slice(number * size, size), name)
    return place


LAYOUTS = [
    ("subject", "relation", "object", "time"),
    ("Subject", "Relation", "Object", "Date"),
    ("s", "p", "o", "t"),
    ("head", "relation", "tail", "timestamp"),
    ("head", "rel", "tail", "ts"),
    ("h", "r", "t", "time"),
    ("source", "relation", "target", "time"),
    ("SRC", "REL", "DST", "TS"),
    ("actor1", "event", "actor2", "date"),
    ("Actor1Name", "EventCode", "Actor2Name", "DATEADDED"),
    ("sender", "label", "receiver", "sent_time"),
    ("from", "edge_type", "to", "created_at"),
    (" entity1", "relation ", "Entity2", "timestamp"),
]
CSV = frame().write_csv()
LINES = CSV.splitlines()
