"""How an ingest turns raw events into facts: actors, relation, time and filters. A table keeps the same options."""

import dataclasses
from collections.abc import Iterable

from tirgn_eqx.errors import ConfigError, nearest

# The raw column of each choice; {} is the number of the actor.
ACTORS = {"name": "Actor{}Name", "code": "Actor{}Code", "country": "Actor{}CountryCode"}
RELATIONS = {"code_quad": "EventCode", "code": "EventCode", "base": "EventBaseCode", "root": "EventRootCode"}
TIMES = {"added": "DATEADDED", "day": "Day"}
QUAD_CLASSES = (1, 2, 3, 4)


@dataclasses.dataclass(frozen=True)
class IngestOptions:
    """The settings of an event table.

    **Arguments:**

    - `actor`: what an entity is: the actor's `name`, its CAMEO `code`, or its `country`.
    - `relation`: `code_quad` (`010_Q1`), the event's `code`, its `base` code or its `root` code.
    - `time`: `added`, when GDELT knew of the event (DATEADDED), or `day`, when it is said to have happened.
    - `quad_class`: the classes that are kept, of 1 (verbal cooperation), 2 (material cooperation), 3 (verbal
      conflict) and 4 (material conflict).
    - `root_only`: keep only events from the lead paragraph of a document (IsRootEvent = 1).
    - `min_mentions`: keep events with at least so many mentions.
    - `drop_generic_actors`: drop events with an actor of `GENERIC_ACTORS`, such as POLICE.
    - `keep_duplicates`: keep the events that repeat a fact: same entities, relation and time under another
      GlobalEventID. An event whose GlobalEventID repeats is never kept.

    **Raises:** ConfigError for a choice that does not exist.
    """

    actor: str = "name"
    relation: str = "code_quad"
    time: str = "added"
    quad_class: tuple[int, ...] = QUAD_CLASSES
    root_only: bool = False
    min_mentions: int = 0
    drop_generic_actors: bool = False
    keep_duplicates: bool = False

    def __post_init__(self) -> None:
        for name, known in (("actor", ACTORS), ("relation", RELATIONS), ("time", TIMES)):
            _check_choice(name, getattr(self, name), known)
        if not self.quad_class or not set(self.quad_class) <= set(QUAD_CLASSES):
            raise ConfigError(f"quad_class = {list(self.quad_class)}: must be some of 1, 2, 3, 4, like 1,2")
        # In a fixed order, because a table compares its options with those of later ingests.
        object.__setattr__(self, "quad_class", tuple(sorted(set(self.quad_class))))
        if self.min_mentions < 0:
            raise ConfigError(f"min_mentions = {self.min_mentions}: must be at least 0; 0 keeps all")
        if self.drop_generic_actors and self.actor != "name":
            raise ConfigError(
                f"drop_generic_actors: a list of names, but actor = {self.actor!r}; leave one of them out"
            )

    def to_dict(self) -> dict[str, str | bool | int | list[int]]:
        """The options in JSON types."""
        return dataclasses.asdict(self) | {"quad_class": list(self.quad_class)}

    def columns(self) -> dict[str, str]:
        """The raw columns of the actors and of the code of the relation."""
        actor = ACTORS[self.actor]
        return {"actor1": actor.format(1), "actor2": actor.format(2), "code": RELATIONS[self.relation]}


def _check_choice(name: str, value: str, known: Iterable[str]) -> None:
    if value not in known:
        raise ConfigError(f"{name} {value!r} does not exist{nearest(value, known)}; known: {', '.join(known)}")
