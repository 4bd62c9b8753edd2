"""What the shell may complete: checkpoints, data and runs below the current folder, found in a moment or not at all."""

import os
from collections.abc import Callable, Iterator

DEEPEST = 4  # folders below the current one
MOST = 2000  # entries looked at: a key press must not wait for a disk
# As in tirgn_eqx.data.readers.table_files, which is not imported: a key press must not wait for it.
TEXT = (".csv", ".tsv", ".tab", ".ndjson", ".jsonl")
SUFFIXES = (".parquet", ".pq", ".arrow", ".arrows", ".feather", ".ipc", *TEXT)
SUFFIXES += tuple(f"{suffix}{packed}" for suffix in TEXT for packed in (".gz", ".zst"))


def _walk(place: str = ".", depth: int = DEEPEST) -> Iterator[os.DirEntry]:
    """Files and folders below `place`, nearest first; hidden ones and links to folders are passed over."""
    level, seen = [place], 0
    for _ in range(depth):
        deeper = []
        for folder in level:
            try:
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except OSError:
                continue
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if (seen := seen + 1) > MOST:
                    return
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    deeper.append(entry.path)
        level = deeper


def _matching(incomplete: str, wanted: Callable[[os.DirEntry], bool]) -> list[str]:
    """Paths that begin with `incomplete`, written as the user began: below `./`, an absolute folder, or neither."""
    folder = os.path.dirname(incomplete)
    found = (os.path.normpath(entry.path) for entry in _walk(folder or ".") if wanted(entry))
    dotted = incomplete.startswith("./")
    paths = (f"./{path}" if dotted and not path.startswith("..") else path for path in found)
    return [path for path in paths if path.startswith(incomplete)]


def _is_checkpoint(entry: os.DirEntry) -> bool:
    return entry.name.endswith(".npz") and not entry.name.endswith("_state.npz")


def checkpoints(incomplete: str) -> list[str]:
    """Checkpoints, the best of a training before its others."""
    return sorted(_matching(incomplete, _is_checkpoint), key=lambda path: not path.endswith("_best.npz"))


def runs(incomplete: str) -> list[str]:
    """Folders of trainings."""
    held = lambda entry: entry.is_dir() and os.path.exists(os.path.join(entry.path, "tirgn_best.npz"))
    return _matching(incomplete, held)


def models(incomplete: str) -> list[str]:
    """Checkpoints, and the baseline that they are compared with."""
    names = ("recurrency", "recurrency:strict", "recurrency:relaxed")
    return checkpoints(incomplete) + [name for name in names if name.startswith(incomplete)]


def data(incomplete: str) -> list[str]:
    """Folders of facts, event tables and the simulated world."""

    def held(entry: os.DirEntry) -> bool:
        if entry.is_file():
            return entry.name.lower().endswith(SUFFIXES)
        inside = ("train.txt", "graph.json", "_SUCCESS", "_metadata")
        return any(os.path.exists(os.path.join(entry.path, name)) for name in inside)

    return _matching(incomplete, held) + (["sim"] if "sim".startswith(incomplete) else [])


def published(incomplete: str) -> list[str]:
    """Names of published data sets, however they are begun."""
    from tirgn_eqx.data.readers.published import list_published as known

    return [name for name in known() if name.casefold().startswith(incomplete.casefold())]
