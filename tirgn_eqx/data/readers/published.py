"""The published data sets by name: what is in them, where they come from, and how to get them.

Counts and checksums are those of `published.json`, which `tools/docs/registry.py` writes from the files themselves.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TypedDict

from tirgn_eqx.errors import ConfigError, DataError, nearest, shown
from tirgn_eqx.storage.download import Patience, Server, Tell, Unobtainable, digest_of, publish
from tirgn_eqx.storage.locks import exclusive_lock

# The repository of the released TiRGN, at a commit that holds these files.
SOURCE = "https://raw.githubusercontent.com/Liyyy2122/TiRGN/3f37d75c5f137d70b071782c0af55c3a1339eb89/data"
_LOCK = ".get.lock"


class PublishedFile(TypedDict):
    """A file of a published data set, None for what is not known of it."""

    name: str
    bytes: int | None
    digest: str | None


@dataclass(frozen=True)
class PublishedDataset:
    """A published data set.

    **Arguments:** `step`: length of a snapshot; `files`: by name, `(bytes, digest)`, each None where it is not known;
    `facts`, `snapshots`: by split; `entities`, `relations`; `sha256`: checksum of all facts. The last five are None
    where they were not counted.
    """

    name: str
    step: str | None
    files: dict[str, tuple[int | None, str | None]]
    facts: dict[str, int] | None
    snapshots: dict[str, int] | None
    entities: int | None
    relations: int | None
    sha256: str | None

    def to_dict(self) -> dict[str, object]:
        """JSON-compatible."""
        known = [PublishedFile(name=name, bytes=size, digest=digest) for name, (size, digest) in self.files.items()]
        return {**vars(self), "files": known}


def list_published() -> dict[str, PublishedDataset]:
    """All published data sets, by name."""
    text = files("tirgn_eqx.data").joinpath("published.json").read_text(encoding="utf-8")
    counts = ("facts", "snapshots", "entities", "relations", "sha256")
    return {
        name: PublishedDataset(
            name,
            entry["step"],
            {file: (content["bytes"], content["digest"]) for file, content in entry["files"].items()},
            **{key: entry.get(key) for key in counts},
        )
        for name, entry in json.loads(text).items()
    }


def find_published(name: str) -> PublishedDataset:
    """The data set of this name, in any case. **Raises:** ConfigError for a name that is not known."""
    known = list_published()
    # The names mix cases, as `ICEWS14s` does.
    for dataset in known.values():
        if dataset.name.casefold() == name.casefold():
            return dataset
    raise ConfigError(f"{shown(name)}: no published data set{nearest(name.upper(), known)}; known: {', '.join(known)}")


def get_published(
    dataset: PublishedDataset,
    out: str | Path,
    source: str | Path = SOURCE,
    *,
    patience: Patience | None = None,
    stop: threading.Event | None = None,
    tell: Tell = lambda _: None,
) -> dict[str, str]:
    """Bring the files of a data set to the folder `out`; after an interruption, the same call goes on where it was.

    A file is fetched beside its name and renamed once size and checksum are right, so that what has its name is whole.

    **Arguments:** `source`: address of the folder that holds a folder for each data set, or such a folder here, or that
    of the data set itself; `tell`: takes a record of every piece that came and of every attempt that failed.

    **Returns:** by file what was done: `there`, `fetched`, or `unverified` where no checksum is known.

    **Raises:** DataError for a file that cannot be obtained or is another one; ConfigError for no source or folder.
    """
    place, done = Path(out), {}
    busy = ConfigError(f"{place}: another `tirgn data get` is at work here; wait for its end")
    options = patience or Patience(), stop or threading.Event(), tell
    try:
        # Two processes would write the same unfinished files.
        with exclusive_lock(place / _LOCK, busy):
            with _open_source(dataset, str(source), *options) as fetch:
                for name in dataset.files:
                    done[name] = _obtain(dataset, name, place / name, fetch)
            with suppress(OSError):  # some systems keep a file that is open
                (place / _LOCK).unlink()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(f"{place}: cannot be written ({reason}); choose another --out") from error
    return done


def _obtain(dataset: PublishedDataset, name: str, place: Path, fetch: Callable[[str, Path], None]) -> str:
    """Fetch a file unless it is there; returns what was done."""
    known = dataset.files[name][1] is not None
    if place.exists():
        if not _matches(dataset, name, place):
            raise DataError(f"{place}: is there, and is not the published file; move it away, or choose another --out")
        return "there" if known else "unverified"
    try:
        fetch(name, place)
    except Unobtainable as error:
        raise DataError(f"{place.name}: {error}; try again later, or give the files with --from DIR") from error
    return "fetched" if known else "unverified"


def _matches(dataset: PublishedDataset, name: str, path: Path) -> bool:
    """Whether a file has the checksum of a published one, as far as that is known."""
    digest = dataset.files[name][1]
    # A digest begins with its method, as in `sha256:228d...`.
    return digest is None or digest_of(path, digest.partition(":")[0]) == digest


@contextmanager
def _open_source(
    dataset: PublishedDataset,
    source: str,
    patience: Patience,
    stop: threading.Event,
    tell: Tell,
) -> Iterator[Callable[[str, Path], None]]:
    """A function that brings the file of a name to a place, from a server or a folder."""
    if "://" in source:
        server = Server(source, 1, patience, stop, tell)
        try:
            yield lambda name, place: server.fetch(f"/{dataset.name}/{name}", place, *dataset.files[name])
        finally:
            server.close()
        return
    try:
        # A folder of several data sets, or that of this one.
        found = [path for path in (Path(source) / dataset.name, Path(source)) if (path / "train.txt").is_file()]
    except OSError as error:
        raise ConfigError(f"--from {shown(source)}: cannot be read ({error.strerror}); give another folder") from error
    if not found:
        raise ConfigError(
            f"--from {shown(source)}: no folder with {dataset.name}, and no address; write it like {SOURCE}"
        )

    def copy(name: str, place: Path) -> None:
        path, part = found[0] / name, place.with_name(f"{name}.part")
        if not path.is_file():
            raise DataError(f"{path}: file is missing; give a folder with all files of {dataset.name}")
        try:
            # Read as a whole before anything is written: the two may fail for different reasons, with different advice.
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); give another folder") from error
        part.write_bytes(content)
        if not _matches(dataset, name, part):
            part.unlink()
            raise DataError(f"{path}: is not the published file (checksum differs); give another folder")
        publish(part, place)

    yield copy
