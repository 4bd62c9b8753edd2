"""Names of entities and relations in a folder of the RE-GCN text format: `entity2id.txt` and `relation2id.txt`."""

import os.path
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tirgn_eqx.data.readers.integer_text import INT32_MAX, decode_block, read_text_blocks
from tirgn_eqx.errors import DataError, DataWarning, shown

Lines = list[tuple[int, str]]  # number and text
NamedId = tuple[int, str, str]  # number of a line, name, id


def read_names(path: Path, size: int | None, kind: str, stat: Path) -> dict[int, str] | None:
    """Names by id from lines `name<TAB>id`, or None when there is no such file.

    All lines together decide which column holds the id: it is the last one, so that a name may hold a tab; or the
    second one of lines `name<TAB>id<TAB>more`; or, with a DataWarning, the first one of lines `id<TAB>name`, where no
    last column is an id. Without a tab the last word is the id. A first line that is only a count, as OpenKE writes it,
    is skipped. Spaces around a name are no part of it.

    **Arguments:** `size`: how many ids there are, from 0; None for any; `kind`: entity or relation; `stat`: the file
    that gives the size, for messages.

    **Raises:** DataError with file, line and value for a line without an id, an id beyond the size, two names of an
    id, and for columns of which two may be the id.
    """
    if not os.path.lexists(path):
        return None
    lines: Lines = []
    for number, line in _read_lines(path, f"expected lines `name<TAB>id` of every {kind}"):
        is_count = number == 1 and "\t" not in line and line.strip().isdecimal()
        if line.strip() and not is_count:
            lines.append((number, line))
    size = INT32_MAX if size is None else size
    usual = _read_usual(lines, size)
    if usual is not None:
        return usual
    names: dict[int, str] = {}
    for number, name, key in _choose_columns(path, lines, size, kind):
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


def complete_names(names: dict[int, str] | None, size: int, kind: str, folder: Path) -> tuple[str, ...] | None:
    """A different name for every id, or None where there are no names.

    An id without a name is called `entity 17`. Where a name stands for several ids, each of them gets its id behind the
    name, `Springfield (17)`, with a DataWarning: by the bare name nobody could tell which of them is meant.
    """
    if names is None:
        return None
    # An empty name counts as none.
    complete = [names.get(entry) or f"{kind} {entry}" for entry in range(size)]
    shared = {name for name, number in Counter(complete).items() if number > 1}
    if not shared:
        return tuple(complete)
    taken = set(complete)
    ids = [entry for entry, name in enumerate(complete) if name in shared]
    first = [entry for entry in ids if complete[entry] == complete[ids[0]]]
    for entry in ids:
        name = complete[entry]
        # `Springfield (17)` may be a name in the file, too.
        while name in taken:
            name = f"{name} ({entry})"
        complete[entry] = name
        taken.add(name)
    warnings.warn(
        f"{folder / f'{kind}2id.txt'}: {len(shared)} names stand for several ids: {first[0]} and {first[1]} now have "
        f"the names {shown(complete[first[0]])} and {shown(complete[first[1]])}; give each id a name of its own",
        DataWarning,
        stacklevel=4,
    )
    return tuple(complete)


def _read_usual(lines: Lines, size: int) -> dict[int, str] | None:
    """The names where every line is `name<TAB>id`, as in nearly all files, or None when anything is unusual."""
    names: dict[int, str] = {}
    for _, line in lines:
        name, _, key = line.partition("\t")
        name, key = name.strip(), key.strip()
        # If the first line has the name 0, the ids may stand first.
        if not _is_id(key, size) or names.setdefault(int(key), name) != name or (name == "0" and len(names) == 1):
            return None
    return names


def _choose_columns(path: Path, lines: Lines, size: int, kind: str) -> list[NamedId]:
    """Line number, name and id of each line; the docstring of `read_names` says which column is the id."""
    split = [(number, line.split("\t") if "\t" in line else line.rsplit(None, 1)) for number, line in lines]
    split = [(number, fields if len(fields) > 1 else [*fields, ""]) for number, fields in split]
    last = [(number, "\t".join(fields[:-1]).strip(), fields[-1].strip()) for number, fields in split]
    second = [(number, fields[0].strip(), fields[1].strip()) for number, fields in split]
    choices = [last] if last == second else [last, second]
    sound = [rows for rows in choices if _are_ids(rows, size)]
    if len(sound) > 1:
        # The first line on which the two readings differ.
        number, ours, theirs = next((a[0], a[2], b[2]) for a, b in zip(*sound) if a != b)
        raise DataError(
            f"{path}:{number}: the last column {shown(ours, 20)} and the second one {shown(theirs, 20)} may both be "
            f"the {kind} id; write name<TAB>id"
        )
    front = [(number, line.split("\t" if "\t" in line else None, 1)) for number, line in lines]
    first = [(number, fields[1].strip(), fields[0].strip()) for number, fields in front if len(fields) == 2]
    ids_first = len(first) == len(lines) and _are_ids(first, size)
    # Where both columns may be the ids, the one that counts the lines is the likelier one, but only by a guess.
    if sound and ids_first and _count_up(first) and not _count_up(sound[0]):
        number, name, key = first[-1]
        raise DataError(
            f"{path}:{number}: both columns are numbers, here {key} and {shown(name, 20)}, and the first one counts "
            "the lines; write name<TAB>id, in the order of the ids"
        )
    if sound:
        return sound[0]
    if ids_first and min(len(fields) for _, fields in split) == 2 and not any(_is_id(key, size) for _, _, key in last):
        warnings.warn(
            f"{path}: the id stands before the name on every line; read so, but it should be name<TAB>id",
            DataWarning,
            stacklevel=6,
        )
        return first
    # No choice is sound. With the one that has most numbers, the error names a line that differs from the others.
    return max(choices, key=lambda rows: sum(_is_number(key) for _, _, key in rows))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _is_id(text: str, size: int) -> bool:
    # `int` refuses thousands of digits with an error of its own.
    return _is_number(text) and len(text) <= 20 and int(text) < size


def _are_ids(rows: list[NamedId], size: int) -> bool:
    """Whether every id exists, and none has two names."""
    if not all(_is_id(key, size) for _, _, key in rows):
        return False
    # As many ids as pairs of id and name.
    return len({int(key) for _, _, key in rows}) == len({(int(key), name) for _, name, key in rows})


def _count_up(rows: list[NamedId]) -> bool:
    """Whether ids count from 0 without holes, as programs write them."""
    return [key for _, _, key in rows] == [str(number) for number in range(len(rows))]


def _read_lines(path: Path, need: str) -> Iterator[tuple[int, str]]:
    """Number and text of each line of a file in UTF-8."""
    for first, block in read_text_blocks(path, need):
        yield from enumerate(decode_block(path, first, block).split("\n"), first)
