"""How an ingest turns raw events into facts: actors, relation, time and filters. A table keeps the same options."""

import dataclasses
from collections.abc import Collection
from typing import NamedTuple

from tirgn_eqx.errors import ConfigError, nearest

QUAD_CLASSES = (1, 2, 3, 4)


class Choices(NamedTuple):
    """What the events of a source can be made facts of; the first of each is the default."""

    actor: tuple[str, ...]
    relation: tuple[str, ...]
    time: tuple[str, ...]


CHOICES = {
    "gdelt": Choices(("name", "code", "country"), ("code_quad", "code", "base", "root"), ("added", "day")),
    "icews": Choices(("name", "country"), ("text", "code_quad", "code", "base", "root"), ("day",)),
    "polecat": Choices(("name", "country"), ("type", "type_mode"), ("added", "day")),
}


@dataclasses.dataclass(frozen=True)
class IngestOptions:
    """The settings of an event table. An empty `actor`, `relation` or `time` becomes the default of the source.

    **Arguments:**

    - `source`: `gdelt`, `icews` or `polecat`.
    - `actor`: what an entity is: the actor's `name`, its `country`, or for GDELT its CAMEO `code`.
    - `relation`: of GDELT and ICEWS `code_quad` (`010_Q1`), the event's `code`, its `base` code or its `root` code; of
      ICEWS also the `text` of the code (`Make statement`); of POLECAT the `type` of the event, or its `type_mode`.
    - `time`: `added`, when the source knew of the event (DATEADDED of GDELT, Publication Date of POLECAT), or `day`,
      when it is said to have happened. ICEWS has the day alone.
    - `quad_class`: the classes that are kept, of 1 (verbal cooperation), 2 (material cooperation), 3 (verbal
      conflict) and 4 (material conflict).
    - `root_only`: keep only events from the lead paragraph of a document (IsRootEvent = 1 of GDELT).
    - `min_mentions`: keep events with at least so many mentions (GDELT).
    - `drop_generic_actors`: drop events with an actor that stands for many, such as POLICE or Citizen (India).
    - `keep_duplicates`: keep the events that repeat a fact: same entities, relation and time under another id. An event
      whose id repeats is never kept.
    - `attributes`: keep the countries and the sectors of both actors, as columns of which a static graph can be made.

    **Raises:** ConfigError for a choice that does not exist, and for one that the source has no data for.
    """

    source: str = "gdelt"
    actor: str = ""
    relation: str = ""
    time: str = ""
    quad_class: tuple[int, ...] = QUAD_CLASSES
    root_only: bool = False
    min_mentions: int = 0
    drop_generic_actors: bool = False
    keep_duplicates: bool = False
    attributes: bool = False

    def __post_init__(self) -> None:
        _check_choice("source", self.source, CHOICES)
        for name, known in CHOICES[self.source]._asdict().items():
            # A frozen dataclass forbids plain assignment.
            object.__setattr__(self, name, getattr(self, name) or known[0])
            _check_choice(name, getattr(self, name), known, f" for {self.source}")
        if not self.quad_class or not set(self.quad_class) <= set(QUAD_CLASSES):
            raise ConfigError(f"quad_class = {list(self.quad_class)}: must be some of 1, 2, 3, 4, like 1,2")
        # In a fixed order, because a table compares its options with those of later ingests.
        object.__setattr__(self, "quad_class", tuple(sorted(set(self.quad_class))))
        if self.min_mentions < 0:
            raise ConfigError(f"min_mentions = {self.min_mentions}: must be at least 0; 0 keeps all")
        for name in ("root_only", "min_mentions"):
            if getattr(self, name) and self.source != "gdelt":
                raise ConfigError(f"{name}: GDELT alone says this of an event, not {self.source}; leave it out")
        if self.drop_generic_actors and self.actor != "name":
            raise ConfigError(
                f"drop_generic_actors: a list of names, but actor = {self.actor!r}; leave one of them out"
            )

    def to_dict(self) -> dict[str, str | bool | int | list[int]]:
        """The options in JSON types."""
        return dataclasses.asdict(self) | {"quad_class": list(self.quad_class)}


def _check_choice(name: str, value: str, known: Collection[str], where: str = "") -> None:
    if value not in known:
        raise ConfigError(f"{name} {value!r} does not exist{where}{nearest(value, known)}; known: {', '.join(known)}")
