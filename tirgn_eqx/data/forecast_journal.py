"""The journal of forecasts: what was forecast and when, kept until the data say what came.

A folder of JSON-lines files, `forecasts-YYYY-MM-DD.jsonl` by the UTC day of writing, that are only ever appended to. A
forecast is known by its identity, a digest of the model's file, the target time, the horizon and the fact, so that
commands that are repeated, or run at the same time, write it once: the first one stays.

Writers hold the lock of the folder. What a killed writer left of a line is cut off by the next one, and readers, which
take no lock, pass over it. No JAX here: a program that only keeps a journal starts at once.
"""

import datetime as dt
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tirgn_eqx.data.times import unix_seconds
from tirgn_eqx.errors import DataError, shown
from tirgn_eqx.storage.atomic_write import flush
from tirgn_eqx.storage.json_lines import append_lines, truncate_partial_line
from tirgn_eqx.storage.locks import exclusive_lock
from tirgn_eqx.storage.untrusted import check_regular

LOCK = ".forecasts.lock"
_FILE = re.compile(r"forecasts-\d{4}-\d{2}-\d{2}([.-][\w.-]+)?\.jsonl")
_FIRST = b'{"id": "'  # how a line begins
_DIGITS = 32  # of an identity, in hexadecimal
LONGEST = 2**20  # bytes of a line

Finite = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Time = int | str  # ISO 8601 in UTC for data with dates, else a step number


class _Part(BaseModel):
    """A part of a line. Types are strict, because a file may come from anywhere."""

    model_config = ConfigDict(strict=True, frozen=True, protected_namespaces=())


class ForecastingModel(_Part):
    """The model of a forecast.

    **Arguments:** `name`: the path of its checkpoint; `sha256`: of that file; `learnt_until`: the last time that it was
    trained on or selected by, None where that is not known.
    """

    name: str
    sha256: str
    learnt_until: Time | None = None

    @cached_property
    def learnt_time(self) -> int | None:
        """`learnt_until` in seconds since 1970-01-01 UTC, or as a number. **Raises:** ValueError for what is no
        time."""
        return None if self.learnt_until is None else instant(self.learnt_until)


class KnownData(_Part):
    """The facts before the target, from which a forecast was made.

    **Arguments:** `name`, `sha256`, `facts`: of the graph; `last`: the newest time; `provenance`: options of
    `load_graph` that read them.
    """

    name: str
    sha256: str
    facts: int
    last: Time
    provenance: dict[str, Any] = {}


class Selection(_Part):
    """How the facts were chosen among all that may come: the first `number` by probability or lift, of those with the
    names that are given. What becomes of the forecasts says how good such a list is, not how good all are."""

    by: str
    number: int
    subject: str | None = None
    relation: str | None = None
    object: str | None = None


class JournalForecast(_Part):
    """That a fact comes at least once within a horizon, in words that data read anew can be compared with.

    **Arguments:**

    - `target`: the first time of the horizon; `horizon`: its steps, each of `step` units. The horizon is all times from
      the target on and before target + horizon * step.
    - `unit`: "second" for data with dates, else "number", in which times are plain numbers.
    - `probability`: that the fact comes; `expected`: how often; `usual`: how often it came so far in as many steps,
      None for a fact that never did.
    - `version`: of the package that forecast.
    """

    model: ForecastingModel
    version: str
    data: KnownData
    selection: Selection
    target: Time
    horizon: Annotated[int, Field(ge=1)]
    step: Annotated[int, Field(ge=1)]
    unit: Literal["second", "number"]
    subject: str
    relation: str
    object: str
    probability: Annotated[float, Field(ge=0, le=1)]
    expected: Finite
    usual: Finite | None = None

    @cached_property
    def begin(self) -> int:
        """The target in seconds since 1970-01-01 UTC, or as a number. **Raises:** ValueError for what is no time."""
        if (self.unit == "number") != isinstance(self.target, int):
            raise ValueError(f"target {shown(self.target)}: expected a {'date' if self.unit == 'second' else 'number'}")
        return instant(self.target)

    @property
    def end(self) -> int:
        """Where the horizon ends: the first time after it, as `begin`."""
        return self.begin + self.horizon * self.step

    @property
    def identity(self) -> str:
        """A digest of what makes two forecasts the same one: model, horizon and fact."""
        parts = (self.model.sha256, self.unit, self.begin, self.end, self.subject, self.relation, self.object)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:_DIGITS]


class JournalLine(JournalForecast):
    """A forecast in a journal; `id`: its identity; `written`: when, ISO 8601 in UTC."""

    id: str
    written: str

    @property
    def written_time(self) -> int:
        """`written` in seconds since 1970-01-01 UTC. **Raises:** ValueError for what is no time."""
        return instant(self.written)


class Appended(NamedTuple):
    """What became of forecasts: the file of the day, how many were written to it, and how many the journal had."""

    file: Path
    written: int
    repeated: int


class Journal(NamedTuple):
    """All forecasts of a journal in the order of writing, each once; `repeated`: lines of forecasts that came before,
    as files that were copied together have."""

    lines: list[JournalLine]
    repeated: int


def instant(time: Time) -> int:
    """A time of a journal in seconds since 1970-01-01 UTC, or as a number. **Raises:** ValueError for what is none."""
    return time if isinstance(time, int) else unix_seconds(dt.datetime.fromisoformat(time))


def append_forecasts(folder: str | Path, forecasts: Sequence[JournalForecast]) -> Appended:
    """Write the forecasts that the journal in `folder`, which is made where needed, does not have.

    When this returns, all of them are on the disk. Whatever ends the process before leaves some of them, and the same
    call then writes the others.

    **Raises:** DataError for a file that is no journal; OSError when it cannot be written, or its filesystem has no
    locks. The journal is then as it was.
    """
    folder = Path(folder)
    wanted = {one.identity.encode(): one for one in forecasts}
    with exclusive_lock(folder / LOCK):
        known = set[bytes]()
        for path in journal_files(folder):
            truncate_partial_line(path)
            if found := wanted.keys() & set(_identities(path)):
                known |= found
                # A writer that was killed may have left them before they were on the disk.
                flush(path)
        now = dt.datetime.now(dt.UTC)
        written = now.isoformat(timespec="seconds")
        # The identity comes first, where a writer finds it without reading the rest.
        lines = [
            json.dumps({"id": identity.decode(), "written": written} | one.model_dump(), ensure_ascii=False).encode()
            + b"\n"
            for identity, one in wanted.items()
            if identity not in known
        ]
        path = folder / f"forecasts-{now:%Y-%m-%d}.jsonl"
        if lines:
            append_lines(path, lines)
    return Appended(path, len(lines), len(forecasts) - len(lines))


def read_journal(folder: str | Path) -> Journal:
    """All forecasts of a journal. It may be written to meanwhile.

    **Raises:** DataError for a folder without a journal, and for a line that is no forecast.
    """
    folder = Path(folder).expanduser()
    files = journal_files(folder) if folder.is_dir() else []
    if not files:
        raise DataError(
            f"{folder}: holds no journal of forecasts; `tirgn predict CKPT --facts N --journal {folder}` writes one"
        )
    lines, repeated = dict[str, JournalLine](), 0
    for path in files:
        for number, text in _whole_lines(path):
            line = _parse(path, number, text)
            repeated += line.id in lines
            lines.setdefault(line.id, line)
    return Journal(list(lines.values()), repeated)


def journal_files(folder: Path) -> list[Path]:
    """The files of a journal by day."""
    return sorted(path for path in folder.iterdir() if _FILE.fullmatch(path.name))


def _whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their numbers, but for a last one without an end, which is being written, or was when
    its writer died."""
    check_regular(path)
    with path.open("rb") as file:
        number = 0
        while (line := file.readline(LONGEST)).endswith(b"\n"):
            number += 1
            yield number, line
        if len(line) == LONGEST:
            raise DataError(f"{path}:{number + 1}: a line of more than {LONGEST:,} bytes; {_ADVICE}")


def _identities(path: Path) -> Iterator[bytes]:
    begin, end = len(_FIRST), len(_FIRST) + _DIGITS
    for number, line in _whole_lines(path):
        if not line.startswith(_FIRST):
            raise DataError(f"{path}:{number}: no line of a journal of forecasts; {_ADVICE}")
        yield line[begin:end]


def _parse(path: Path, number: int, text: bytes) -> JournalLine:
    try:
        line = JournalLine.model_validate_json(text)
        sound = line.id == line.identity
        _ = line.written_time, line.model.learnt_time  # which say whether they are times
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the line"
        raise DataError(f"{path}:{number}: {where}: {first['msg'].lower()}; {_ADVICE}") from error
    except (ValueError, OverflowError) as error:
        raise DataError(f"{path}:{number}: {error}; {_ADVICE}") from error
    if not sound:
        raise DataError(f"{path}:{number}: its id {shown(line.id)} is not that of its forecast; {_ADVICE}")
    return line


_ADVICE = "give the folder of a journal that nothing else has written to"
