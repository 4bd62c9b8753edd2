"""Ingests for tests: files of raw rows, and what an ingest wrote."""

from pathlib import Path
from typing import Any

import polars as pl

from tests.ingest.raw_rows import raw
from tirgn_eqx.ingest import api as module

NAME = "20200101001500.export.CSV"


def forty(first: int, name: str) -> bytes:
    """40 events of 7 facts, with ids from `first` on."""
    return b"".join(raw(first + number, Actor1Name=f"{name} {number % 7}") for number in range(40))


ROWS = forty(1000, "ACTOR")


def write(folder: Path, data: bytes, name: str = NAME) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / name
    path.write_bytes(data)
    return path


def facts(out: Path) -> list[tuple]:
    return pl.read_parquet(out).select("entity1", "relation", "entity2", "timestamp", "GlobalEventID").rows()


def rejects(out: Path) -> list[tuple[str, int, str, bytes]]:
    """(file name, line, reason, raw bytes) of each reject."""
    path = out.with_suffix(".rejects.tsv")
    if not path.exists():
        return []
    lines = [line.split(b"\t", 3) for line in path.read_bytes().split(b"\n")[1:-1]]
    return [(Path(name.decode()).name, int(line), reason.decode(), rest) for name, line, reason, rest in lines]


def ingest(*args: Any, **options: Any) -> dict[str, Any]:
    """The report of an ingest as the document that is saved."""
    return module.ingest(*args, **options).model_dump(mode="json")
