"""Static graphs of event tables: words that describe an entity, from its country, its sectors and its name.

The words come from the train split alone, so that nothing of a later event reaches a forecast. An entity that occurs
later still has those words of its name that train entities share, and no others.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tirgn_eqx.data.graph import StaticGraph
from tirgn_eqx.errors import ConfigError, DataError, nearest, shown

if TYPE_CHECKING:
    import polars as pl

# The kinds of words; the first two are columns of the table.
KINDS = ("country", "sector", "name")
# A word has to hold in this share of an entity's events that say something of the kind: in single events, the country
# of an actor is often that of somebody else.
_LEAST_SHARE = 0.1
_WORD = re.compile(r"[^\W_]+")


def parse_static_words(text: str | None) -> tuple[str, ...]:
    """The kinds of words in `country,name`, in the order of `KINDS`.

    **Raises:** ConfigError for one that does not exist.
    """
    kinds = [part.strip() for part in (text or "").split(",") if part.strip()]
    for kind in kinds:
        if kind not in KINDS:
            raise ConfigError(
                f"static_words: {shown(kind)} does not exist{nearest(kind, KINDS)}; known: {', '.join(KINDS)}, such as "
                "country,name"
            )
    return tuple(kind for kind in KINDS if kind in kinds)


def word_columns(kinds: Sequence[str]) -> list[str]:
    """The columns of a table that hold the words of these kinds, as `tirgn data ingest --attributes` writes them."""
    return [f"entity{number}_{kind}" for kind in kinds if kind != "name" for number in (1, 2)]


def make_static_graph(table: "pl.DataFrame", names: Sequence[str], kinds: Sequence[str], where: str) -> StaticGraph:
    """The static graph of the entities `names`: for each kind of words a static relation, in the order of `kinds`.

    A cell may hold several words, separated by `;`, `,` or `|`. An entity of the train split that none of the words
    describes gets a word of its own, through a relation after all others.

    **Arguments:** `table`: the rows of the train split, with `entity1`, `entity2` and `word_columns`; `where`: the
    table, for messages.

    **Raises:** DataError where no words are found.
    """
    ids = {name: number for number, name in enumerate(names)}
    train = {name for side in ("entity1", "entity2") for name in table[side].unique().to_list() if name in ids}
    found: list[tuple[int, int, str]] = []  # relation, entity, word
    for relation, kind in enumerate(kinds):
        statements = _words_of_names(names, train) if kind == "name" else _words_of_columns(table, kind)
        found += [(relation, ids[entity], word) for entity, word in statements if entity in ids]
    if not found:
        raise DataError(
            f"{where}: no words for a static graph of {', '.join(kinds)}; name other kinds with --static-words, or "
            "leave it out"
        )
    described = {entity for _, entity, _ in found}
    alone = sorted(ids[name] for name in train if ids[name] not in described)
    # A name may be the word of another kind too, but kinds are told apart.
    found += [(len(kinds), entity, names[entity]) for entity in alone]
    number = {word: place for place, word in enumerate(sorted({(relation, word) for relation, _, word in found}))}
    rows = sorted((relation, entity, number[relation, word]) for relation, entity, word in found)
    relation, entity, word = np.asarray(rows, np.int32).T
    return StaticGraph(entity, relation, word, num_relations=len(kinds) + 1, num_words=len(number))


def _words_of_columns(table: "pl.DataFrame", kind: str) -> list[tuple[str, str]]:
    """(entity, word) from the columns of a kind, with words that hold in enough of the entity's events."""
    import polars as pl

    sides = [
        table.select(pl.col(f"entity{n}").alias("entity"), pl.col(f"entity{n}_{kind}").alias("word")) for n in (1, 2)
    ]
    # Far fewer distinct pairs than events are left to be split.
    pairs = pl.concat(sides).drop_nulls().group_by("entity", "word").len()
    word = pl.element().str.strip_chars()
    split = pl.col("word").str.replace_all(r"[,|]", ";").str.split(";")
    # An event may name a word twice, or none at all, as GDELT's of an actor without a type do.
    split = split.list.eval(word.filter(~word.is_in(["", "None"]))).list.unique()
    pairs = pairs.with_columns(split).filter(pl.col("word").list.len() > 0)
    words = pairs.explode("word").group_by("entity", "word").agg(pl.col("len").sum())
    known = pairs.group_by("entity").agg(pl.col("len").sum().alias("events"))
    kept = words.join(known, on="entity").filter(pl.col("len") >= _LEAST_SHARE * pl.col("events"))
    return list(kept.select("entity", "word").iter_rows())


def _words_of_names(names: Sequence[str], train: set[str]) -> list[tuple[str, str]]:
    """(entity, word) for the words that the names of several train entities have."""
    split = {name: set(_WORD.findall(name.casefold())) for name in names}
    counts: dict[str, int] = {}
    for name in train:
        for word in split[name]:
            counts[word] = counts.get(word, 0) + 1
    return [(name, word) for name, words in split.items() for word in words if counts.get(word, 0) > 1]
