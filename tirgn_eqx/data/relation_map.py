"""Relations of other data as those of a checkpoint: by name, and CAMEO codes by their parents.

What a name stands for depends on the checkpoint's vocabulary alone, never on which other names the data hold: a later
event cannot change what an earlier one means.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, get_args

import numpy as np

from tirgn_eqx.data.names import find_names, fold_name

RelationMapping = Literal["by-name", "by-cameo"]
RELATION_MAPPINGS: tuple[str, ...] = get_args(RelationMapping)
# A CAMEO code, as `tirgn data ingest` writes it with the class of GDELT, which follows from the code.
_CODE = re.compile(r"([0-9]{2,4})(_Q[1-4])?", re.ASCII | re.IGNORECASE)


def map_relations(names: Sequence[str], vocabulary: Sequence[str], how: RelationMapping = "by-name") -> np.ndarray:
    """int64 `(name,)`: the id in `vocabulary` (names by id) of the relation that each of `names` means, -1 for none.

    The first form of a name that an entry has, and only one, decides:

    1. the name itself;
    2. the name without regard to case, spaces, hyphens and underscores;
    3. a CAMEO code without the class of GDELT, so that 042 is 042_Q1;
    4. a code whose leading zero was lost when it was read as a number: 42 is 042, but 10 is none where 010 and 100 are
       known, since 100 is the general code of class 10;
    5. with `by-cameo`, the parent of a code: 0251 is 025, or else 020, the general code of its class.
    """
    found = find_names(names, vocabulary)
    for form in (_folded, _code):
        ids = _unique_ids(vocabulary, form)
        found = _fill(found, names, lambda name, form=form, ids=ids: ids.get(form(name)))
    codes = _unique_ids(vocabulary, _code)
    found = _fill(found, names, lambda name: _with_zero(_code(name), codes))
    if how == "by-cameo":
        found = _fill(found, names, lambda name: next((codes[up] for up in _parents(_code(name)) if up in codes), None))
    return found


def _fill(found: np.ndarray, names: Sequence[str], find: Callable[[str], int | None]) -> np.ndarray:
    """`found` with what `find` gives for the names that have no id yet."""
    ids = [find(name) if number < 0 else number for name, number in zip(names, found.tolist())]
    return np.array([-1 if number is None else number for number in ids], np.int64)


def _folded(name: str) -> str:
    return " ".join(re.split(r"[\s_\-]+", fold_name(name))).strip()


def _code(name: str) -> str | None:
    match = _CODE.fullmatch(name.strip())
    return match[1] if match else None


def _unique_ids(vocabulary: Sequence[str], form: Callable[[str], str | None]) -> dict[str | None, int]:
    """The ids by form of those entries that share it with no other one."""
    ids: dict[str | None, int] = {}
    shared: set[str | None] = {None}
    for number, name in enumerate(vocabulary):
        key = form(name)
        shared |= {key} & ids.keys()
        ids[key] = number
    return {key: number for key, number in ids.items() if key not in shared}


def _with_zero(code: str | None, codes: dict[str | None, int]) -> int | None:
    """The id of a code that lost its leading zero; None where it may as well be a class, whose code ends in 0."""
    if code is None or code.startswith("0") or f"{code}0" in codes:
        return None
    return codes.get(f"0{code}")


def _parents(code: str | None) -> Iterator[str]:
    """The codes above a CAMEO code: without its last digit, down to three, and then the general one of its class."""
    # Two digits are a class, which has none above it.
    if code is None or len(code) == 2:
        return
    if len(code) == 4:
        yield code[:3]
    yield f"{code[:2]}0"
    yield code[:2]
