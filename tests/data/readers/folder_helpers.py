"""Folders of text as people have them, and what comes of them, plainly and mapped."""

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tirgn_eqx.data import map_data
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.readers.regcn_text import read_folder
from tirgn_eqx.errors import DataError, DataWarning

Files = dict[str, str | bytes | None]
Fact = tuple[int, int, int, int]
NAMES = ("China", "United States", "Côte d'Ivoire", "北京", "Citizen (Iran)", "Agent 007")
DATES = [f"2014-{month:02}-{day:02}" for month in (1, 2) for day in range(1, 29)]


# Facts of 12 times, days 0 to 11, by split.
_random = np.random.default_rng(5)
SPLITS: dict[str, list[Fact]] = {
    split: [(*map(int, _random.integers(0, (6, 3, 6))), day) for day in days for _ in range(4)]
    for split, days in (("train", range(8)), ("valid", range(8, 10)), ("test", range(10, 12)))
}
FACTS = [(number, *fact) for number, facts in enumerate(SPLITS.values()) for fact in facts]


def facts_text(facts: list[Fact], time: Callable[[int], str] = str, fifth: str = "", gap: str = "\t") -> str:
    return "".join(gap.join([*map(str, fact[:3]), time(fact[3])]) + fifth + "\n" for fact in facts)


def files(time: Callable[[int], str] = str, fifth: str = "", gap: str = "\t", **changes: Any) -> Files:
    """A sound folder; `changes` by name without .txt, `_` for `-`: other content, or None for no such file."""
    made: Files = {f"{split}.txt": facts_text(facts, time, fifth, gap) for split, facts in SPLITS.items()}
    made["stat.txt"] = "6\t3"
    made["entity2id.txt"] = "".join(f"{name}\t{number}\n" for number, name in enumerate(NAMES))
    made["relation2id.txt"] = "020\t0\n030\t1\n036\t2\n"
    made["e-w-graph.txt"] = "0\t0\t1\n5\t1\t0\n"
    return made | {f"{name.replace('_', '-')}.txt": content for name, content in changes.items()}


def ends(change: Callable[[bytes], bytes], *only: str) -> Files:
    """A sound folder with other line ends, in all files or only some."""
    return {
        name: change(str(content).encode()) if not only or name in only else content
        for name, content in files().items()
    }


def write(place: Path, content: Mapping[str, str | bytes | None]) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    for name, text in content.items():
        if text is None:
            (place / name).unlink(missing_ok=True)
        else:
            (place / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return place


def outcome(read: Callable[[], TemporalGraph]) -> tuple[TemporalGraph | str, set[str]]:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            graph = read()
        except DataError as error:
            graph = str(error)
    assert all(issubclass(warning.category, DataWarning) for warning in told)
    return graph, {str(warning.message) for warning in told}


def read_both(place: Path) -> tuple[TemporalGraph | str, set[str]]:
    """What comes of a folder, and the warnings; the same when it is mapped."""
    plain, told = outcome(lambda: read_folder(place))
    mapped, mapped_told = outcome(lambda: map_data(place, place.parent / f"{place.name}-mapped"))
    assert told == mapped_told
    if isinstance(plain, str) or isinstance(mapped, str):
        assert plain == mapped
        return plain, told
    assert plain.read is not None and plain.read.facts == plain.num_facts
    parts = dataclasses.asdict(plain.read)
    assert parts["lines"] == parts["facts"] + parts["blank"]
    assert plain.read == mapped.read
    for name in ("subject", "relation", "object", "snapshot", "split", "times", "time_index"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(mapped, name))
    for name in ("time_interval", "time_unit", "entity_names", "relation_names", "checksum", "name"):
        assert getattr(plain, name) == getattr(mapped, name), name
    return plain, told
