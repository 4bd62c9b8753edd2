"""The published data sets by name: what is in them, where they come from, and how to have them.

Counts and checksums are those of `published.json`, which `tools/docs/registry.py` writes from the files themselves.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from tirgn_eqx.errors import ConfigError, DataError, nearest, shown
from tirgn_eqx.storage.download import Patience, Server, Unobtainable, digest_of, publish
from tirgn_eqx.storage.files import alone

# The repository of the released TiRGN, at a commit that holds these files.
SOURCE = "https://raw.githubusercontent.com/Liyyy2122/TiRGN/3f37d75c5f137d70b071782c0af55c3a1339eb89/data"
_LOCK = ".get.lock"


@dataclass(frozen=True)
class Published:
    """A published data set. `files`: by name, `(bytes, digest)`, each None where it is not known; `facts`, `snapshots`:
    by split, as `entities`, `relations` and `sha256` (of all facts) None where they were not counted."""

    name: str
    step: str | None
    files: dict[str, tuple[int | None, str | None]]
    facts: dict[str, int] | None
    snapshots: dict[str, int] | None
    entities: int | None
    relations: int | None
    sha256: str | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible."""
        known = [{"name": name, "bytes": size, "digest": digest} for name, (size, digest) in self.files.items()]
        return vars(self) | {"files": known}


def published() -> dict[str, Published]:
    """All of them, by name."""
    text = files("tirgn_eqx.data").joinpath("published.json").read_text(encoding="utf-8")
    keys = ("facts", "snapshots", "entities", "relations", "sha256")
    return {
        name: Published(
            name,
            found["step"],
            {file: (entry["bytes"], entry["digest"]) for file, entry in found["files"].items()},
            **{key: found.get(key) for key in keys},
        )
        for name, found in json.loads(text).items()
    }


def find_published(name: str) -> Published:
    """The set of this name, however it is written in capitals. **Raises:** ConfigError for a name that is not known."""
    known = published()
    plain = {one.casefold(): one for one in known}
    if (found := plain.get(name.casefold())) is None:
        raise ConfigError(
            f"{shown(name)}: no published data set{nearest(name.upper(), known)}; known: {', '.join(known)}"
        )
    return known[found]


def get_published(
    one: Published,
    out: str | Path,
    source: str | Path = SOURCE,
    *,
    patience: Patience | None = None,
    stop: threading.Event | None = None,
    tell: Callable[[dict[str, Any]], None] = lambda _: None,
) -> dict[str, str]:
    """The files of a set, brought to the folder `out`; broken off, the same call goes on where it was.

    A file is fetched beside its name and gets it when size and checksum are right, so that what has its name is whole.

    **Arguments:** `source`: address of the folder that holds a folder for each set, or such a folder here, or that of
    the set itself; `tell`: takes a record of every piece that came and of every attempt that failed.

    **Returns:** by file what was done: `there`, `fetched`, or `unverified` where no checksum is known.

    **Raises:** DataError for a file that could not be had or is another one; ConfigError for no source or folder.
    """
    place, done = Path(out), {}
    busy = ConfigError(f"{place}: another `tirgn data get` is at work here; wait for its end")
    try:
        with alone(place / _LOCK, busy):
            bring, close = _bringer(one, source, patience or Patience(), stop or threading.Event(), tell)
            try:
                for name, (size, digest) in one.files.items():
                    done[name] = _one(place / name, size, digest, lambda name=name: bring(name, place / name))
            finally:
                close()
            with suppress(OSError):  # some systems keep a file that is open
                (place / _LOCK).unlink()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(f"{place}: cannot be written ({reason}); choose another --out") from error
    return done


def _one(place: Path, size: int | None, digest: str | None, bring: Callable[[], None]) -> str:
    """Make sure of one file."""
    if place.exists():
        if digest is not None and digest_of(place, digest.partition(":")[0]) != digest:
            raise DataError(f"{place}: is there, and is not the published file; move it away, or choose another --out")
        return "there" if digest is not None else "unverified"
    try:
        bring()
    except Unobtainable as error:
        raise DataError(f"{place.name}: {error}; try again later, or give the files with --from DIR") from error
    return "unverified" if digest is None else "fetched"


def _pieces(path: Path) -> Iterator[bytes]:
    """What is in a file, bit by bit. **Raises:** DataError where it cannot be read."""
    try:
        with path.open("rb") as file:
            while piece := file.read(2**20):
                yield piece
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give another folder") from error


def _bringer(
    one: Published,
    source: str | Path,
    patience: Patience,
    stop: threading.Event,
    tell: Callable[[dict[str, Any]], None],
) -> tuple[Callable[[str, Path], None], Callable[[], None]]:
    """(brings a file of the set to a place, ends that)."""
    text = str(source)
    if "://" in text:
        server = Server(text, 1, patience, stop, tell)
        return (lambda name, place: server.fetch_known(f"/{one.name}/{name}", place, *one.files[name])), server.close
    try:
        folder = next((path for path in (Path(text) / one.name, Path(text)) if (path / "train.txt").is_file()), None)
    except OSError as error:
        raise ConfigError(f"--from {shown(text)}: cannot be read ({error.strerror}); give another folder") from error
    if folder is None:
        raise ConfigError(f"--from {shown(text)}: no folder with {one.name}, and no address; write it like {SOURCE}")

    def copy(name: str, place: Path) -> None:
        part = place.with_name(f"{name}.part")
        if not (folder / name).is_file():
            raise DataError(f"{folder / name}: file is missing; give a folder with all files of {one.name}")
        with part.open("wb") as copied:
            for piece in _pieces(folder / name):
                copied.write(piece)
        digest = one.files[name][1]
        if digest is not None and digest_of(part, digest.partition(":")[0]) != digest:
            part.unlink()
            raise DataError(f"{folder / name}: is not the published file (checksum differs); give another folder")
        publish(part, place)

    return copy, lambda: None
