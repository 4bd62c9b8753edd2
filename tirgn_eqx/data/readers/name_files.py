"""Names of entities and relations in a folder of the RE-GCN text format: `entity2id.txt` and `relation2id.txt`."""

import os.path
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tirgn_eqx.data.readers.integer_text import INT32_MAX, read_blocks
from tirgn_eqx.errors import DataError, DataWarning, shown

Lines = list[tuple[int, str]]  # number and text
Named = tuple[int, str, str]  # number of a line, name, id


def read_names(path: Path, size: int | None, kind: str, stat: Path) -> dict[int, str] | None:
    """Names by id from lines `name<TAB>id`, or None when there is no such file.

    Which column holds the id is decided by all lines together: it is the last one, so that a name may hold a tab; or
    the second one of lines `name<TAB>id<TAB>more`; or, with a DataWarning, the first one of lines `id<TAB>name`, where
    no last column is an id. Without a tab the last word is the id. A first line that is only a count (as OpenKE writes
    it) is skipped. Spaces around a name are no part of it.

    **Arguments:** `size`: how many ids there are, from 0; None for any; `kind`: entity or relation; `stat`: the file
    that says so, for messages.

    **Raises:** DataError with file, line and value for a line without an id, an id beyond the count, two names of an
    id, and for columns of which two may be the id.
    """
    if not os.path.lexists(path):
        return None
    lines: Lines = []
    for number, line in _lines(path, f"expected lines `name<TAB>id` of every {kind}"):
        count_alone = number == 1 and "\t" not in line and line.strip().isdecimal()
        if line.strip() and not count_alone:
            lines.append((number, line))
    size = INT32_MAX if size is None else size
    plain = _plain(lines, size)
    if plain is not None:
        return plain
    names: dict[int, str] = {}
    for number, name, key in _chosen(path, lines, size, kind):
        if not _is_number(key):
            raise DataError(f"{path}:{number}: {kind} id is {shown(key, 40)}, expected name<TAB>id; correct the line")
        if not _is_id(key, size):
            raise DataError(
                f"{path}:{number}: {kind} {key[:20]} is beyond {stat.name}, which counts {size} "
                f"(ids 0 to {size - 1}); correct the id, or the count in {stat}"
            )
        entry = int(key)
        if names.setdefault(entry, name) != name:
            raise DataError(
                f"{path}:{number}: {kind} {entry} is called {shown(name, 40)}, but {shown(names[entry], 40)} before; "
                "give each id one name"
            )
    return names


def filled(names: dict[int, str] | None, size: int, kind: str, folder: Path) -> tuple[str, ...] | None:
    """A name for every id and an id for every name, or None where there are no names.

    An id without a name is called `entity 17`. Where a name stands for several ids, all of them have their id behind
    it, `Springfield (17)`, and a DataWarning says so: by the bare name nobody could tell which of them is meant.
    """
    if names is None:
        return None
    found = [names.get(entry) or f"{kind} {entry}" for entry in range(size)]
    twice = {name for name, number in Counter(found).items() if number > 1}
    if not twice:
        return tuple(found)
    taken = set(found)
    first = found.index(next(name for name in found if name in twice))
    ids = [entry for entry, name in enumerate(found) if name == found[first]]
    for entry, name in enumerate(found):
        if name in twice:
            while name in taken:
                name = f"{name} ({entry})"
            found[entry] = name
            taken.add(name)
    warnings.warn(
        f"{folder / f'{kind}2id.txt'}: {len(twice)} names stand for several ids: {ids[0]} and {ids[1]} now have the "
        f"names {shown(found[ids[0]])} and {shown(found[ids[1]])}; give each id a name of its own",
        DataWarning,
        stacklevel=4,
    )
    return tuple(found)


def _plain(lines: Lines, size: int) -> dict[int, str] | None:
    """The names where every line is `name<TAB>id`, as in nearly all files, or None when anything is unusual."""
    names: dict[int, str] = {}
    for _, line in lines:
        name, _, key = line.partition("\t")
        name, key = name.strip(), key.strip()
        # A name of 0 in the first line: it may be that the ids stand first.
        if not _is_id(key, size) or names.setdefault(int(key), name) != name or (name == "0" and len(names) == 1):
            return None
    return names


def _chosen(path: Path, lines: Lines, size: int, kind: str) -> list[Named]:
    """Line number, name and id of each line, with the column of the id that the docstring of `read_names` names."""
    split = [(number, line.split("\t") if "\t" in line else line.rsplit(None, 1)) for number, line in lines]
    split = [(number, fields if len(fields) > 1 else [*fields, ""]) for number, fields in split]
    last = [(number, "\t".join(fields[:-1]).strip(), fields[-1].strip()) for number, fields in split]
    second = [(number, fields[0].strip(), fields[1].strip()) for number, fields in split]
    choices = [last] if last == second else [last, second]
    sound = [rows for rows in choices if _are_ids(rows, size)]
    if len(sound) > 1:
        number, ours, theirs = next((a[0], a[2], b[2]) for a, b in zip(*sound) if a != b)
        raise DataError(
            f"{path}:{number}: the last column {shown(ours, 20)} and the second one {shown(theirs, 20)} may both be "
            f"the {kind} id; write name<TAB>id"
        )
    front = [line.split("\t" if "\t" in line else None, 1) for _, line in lines]
    back = [
        (number, fields[1].strip(), fields[0].strip()) for (number, _), fields in zip(lines, front) if len(fields) == 2
    ]
    swapped = len(back) == len(lines) and _are_ids(back, size)
    if sound and swapped and _looks_like_ids(back) and not _looks_like_ids(sound[0]):
        number, name, key = back[-1]
        raise DataError(
            f"{path}:{number}: both columns are numbers, here {key} and {shown(name, 20)}, and the first one counts "
            "the lines; write name<TAB>id, in the order of the ids"
        )
    if sound:
        return sound[0]
    if swapped and min(len(fields) for _, fields in split) == 2 and not any(_is_id(key, size) for _, _, key in last):
        warnings.warn(
            f"{path}: the id stands before the name on every line; read so, but it should be name<TAB>id",
            DataWarning,
            stacklevel=6,
        )
        return back
    return max(choices, key=lambda rows: sum(_is_number(key) for _, _, key in rows))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _is_id(text: str, size: int) -> bool:
    return _is_number(text) and len(text) <= 20 and int(text) < size


def _are_ids(rows: list[Named], size: int) -> bool:
    """Whether every id exists, and none has two names."""
    if not all(_is_id(key, size) for _, _, key in rows):
        return False
    return len({int(key) for _, _, key in rows}) == len({(int(key), name) for _, name, key in rows})


def _looks_like_ids(rows: list[Named]) -> bool:
    """Whether ids count from 0 without holes, as programs write them."""
    return [key for _, _, key in rows] == [str(number) for number in range(len(rows))]


def _lines(path: Path, need: str) -> Iterator[tuple[int, str]]:
    """Number and text of each line of a file in UTF-8."""
    for first, block in read_blocks(path, need):
        try:
            text = block.decode("utf-8")
        except UnicodeDecodeError as error:
            number = first + block.count(b"\n", 0, error.start)
            raise DataError(f"{path}:{number}: not UTF-8 text; convert the file to UTF-8") from error
        yield from enumerate(text.split("\n"), first)
