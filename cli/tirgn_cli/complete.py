"""Completions for the shell: checkpoints, data and runs below the current folder, within a short time limit."""

import os
from collections.abc import Callable, Iterator

MAX_DEPTH = 4  # folders below the current one
MAX_ENTRIES = 2000  # entries to look at: a key press must not wait for a slow disk
# A copy of the suffixes in tirgn_eqx.data.readers.table_files, because importing that module takes too long here. A
# test compares the two.
TEXT = (".csv", ".tsv", ".tab", ".ndjson", ".jsonl")
SUFFIXES = (".parquet", ".pq", ".arrow", ".arrows", ".feather", ".ipc", *TEXT)
SUFFIXES += tuple(f"{suffix}{packed}" for suffix in TEXT for packed in (".gz", ".zst"))


def _walk(place: str) -> Iterator[os.DirEntry]:
    """Files and folders below `place`, nearest first, without hidden ones and what links to folders lead to."""
    level, count = [place], 0
    for _ in range(MAX_DEPTH):
        deeper = []
        for folder in level:
            try:
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except OSError:
                continue
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if (count := count + 1) > MAX_ENTRIES:
                    return
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    deeper.append(entry.path)
        level = deeper


def _matching(incomplete: str, wanted: Callable[[os.DirEntry], bool]) -> list[str]:
    """Paths that begin with `incomplete`, written in the user's style: relative, relative with `./`, or absolute."""
    folder = os.path.dirname(incomplete)
    found = (os.path.normpath(entry.path) for entry in _walk(folder or ".") if wanted(entry))
    dotted = incomplete.startswith("./")
    paths = (f"./{path}" if dotted and not path.startswith("..") else path for path in found)
    return [path for path in paths if path.startswith(incomplete)]


def _is_checkpoint(entry: os.DirEntry) -> bool:
    return entry.name.endswith(".npz") and not entry.name.endswith("_state.npz")


def checkpoints(incomplete: str) -> list[str]:
    """Checkpoints, the best of each training first."""
    # False sorts before True.
    return sorted(_matching(incomplete, _is_checkpoint), key=lambda path: not path.endswith("_best.npz"))


def runs(incomplete: str) -> list[str]:
    """Folders of trainings."""
    return _matching(incomplete, lambda entry: os.path.exists(os.path.join(entry.path, "tirgn_best.npz")))


def models(incomplete: str) -> list[str]:
    """Checkpoints and the variants of the baseline."""
    names = ("recurrency", "recurrency:strict", "recurrency:relaxed")
    return checkpoints(incomplete) + [name for name in names if name.startswith(incomplete)]


def data(incomplete: str) -> list[str]:
    """Folders of facts, event tables and the simulated world."""

    def holds_data(entry: os.DirEntry) -> bool:
        if entry.is_file():
            return entry.name.lower().endswith(SUFFIXES)
        marks = ("train.txt", "graph.json", "_SUCCESS", "_metadata")
        return any(os.path.exists(os.path.join(entry.path, name)) for name in marks)

    return _matching(incomplete, holds_data) + (["sim"] if "sim".startswith(incomplete) else [])


def published(incomplete: str) -> list[str]:
    """Names of published data sets, whatever the case of what was typed."""
    from tirgn_eqx.data.readers import published as registry

    return [name for name in registry.list_published() if name.casefold().startswith(incomplete.casefold())]
