"""The feed that a soak follows: recurring events, a week at a time, and the facts that a table must hold of them."""

import datetime as dt
import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

from benchmarks.pipeline import Server

BEGIN = dt.datetime(2016, 1, 4)
FILES_A_DAY, EVENTS_A_FILE = 4, 15

Fact = tuple[str, str, str, dt.datetime]
Action = tuple[str, str, int, str]  # who did what, of which class, to whom


class World:
    """A feed whose facts are known: recurring events of a few actors, with the faults of a real feed."""

    def __init__(self, server: Server, seed: int):
        self.server, self.chance, self.identity, self.files = server, random.Random(seed), 1, 0
        self.facts: set[Fact] = set()
        self.sums: dict[str, str] = {}
        pick = self.chance.choice
        actors = [f"ACTOR {number}" for number in range(30)]
        codes = [("010", 1), ("042", 1), ("112", 3), ("173", 4), ("190", 4)]
        self.usual: list[Action] = [(pick(actors), *pick(codes), pick(actors)) for _ in range(80)]

    def publish_week(self) -> None:
        """Seven further days on the server."""
        for _ in range(7 * FILES_A_DAY):
            day, part = divmod(self.files, FILES_A_DAY)
            time = BEGIN + dt.timedelta(days=day, hours=24 // FILES_A_DAY * part)
            name = f"{time:%Y%m%d%H%M%S}.export.CSV"
            self.server.publish(name, b"".join(self.lines(time)))
            packed = (self.server.folder / "gdeltv2" / f"{name}.zip").read_bytes()
            self.sums[f"{name}.zip"] = hashlib.md5(packed).hexdigest()
            self.files += 1

    def lines(self, time: dt.datetime) -> Iterator[bytes]:
        """The rows of a file; `facts` learns what a table must hold of them."""
        for _ in range(EVENTS_A_FILE):
            fact = self.chance.choice(self.usual)
            row = self.row(fact, time)
            self.facts.add((fact[0], f"{fact[1]}_Q{fact[2]}", fact[3], time))
            yield row
            fault = self.chance.random()
            if fault < 0.05:
                yield row  # the same event once more
            elif fault < 0.10:
                yield self.row(fact, time)  # the same fact under another number
            elif fault < 0.15:
                yield self.row((fact[0], fact[1], fact[2], ""), time)  # done to nobody
            elif fault < 0.20:
                yield row[:40] + b"\n"  # cut off

    def row(self, fact: Action, time: dt.datetime) -> bytes:
        fields = [""] * 61
        fields[:5] = [str(self.identity), f"{time:%Y%m%d}", f"{time:%Y%m}", f"{time:%Y}", f"{time:%Y}.01"]
        fields[6], fields[16] = fact[0], fact[3]
        fields[25:35] = ["1", fact[1], fact[1], fact[1][:2], str(fact[2]), "1.0", "4", "1", "4", "0.5"]
        fields[59:] = [f"{time:%Y%m%d%H%M%S}", "https://example.org/"]
        self.identity += 1
        return "\t".join(fields).encode() + b"\n"

    @property
    def last_day(self) -> str:
        return f"{BEGIN + dt.timedelta(days=(self.files - 1) // FILES_A_DAY):%Y-%m-%d}"


def table_facts(path: Path) -> set[Fact]:
    """The facts of the event table; fails where one is there twice."""
    import polars as pl

    rows = pl.read_parquet(path, columns=["entity1", "relation", "entity2", "timestamp"]).rows()
    if len(set(rows)) != len(rows):
        raise ValueError(f"{len(rows) - len(set(rows))} facts are there twice")
    return set(rows)
