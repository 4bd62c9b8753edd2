"""Who acts in the simulated event world: invented countries and their organisations; and the names of relations."""

from dataclasses import dataclass

import numpy as np

REGIONS = ("Northern", "Southern", "Eastern", "Western", "Central")

_RELATIONS = tuple(
    (
        "Make statement, Consult, Appeal for help, Express intent to cooperate, Cooperate diplomatically, Cooperate "
        "materially, Provide aid, Yield, Investigate, Demand, Disapprove, Reject, Threaten, Protest, Show military "
        "force, Reduce relations, Coerce, Assault, Fight, Use mass violence"
    ).split(", ")
)
DOMESTIC = ("Government", "Police", "Armed forces", "Press", "Opposition", "Business", "Citizens", "Courts")

_STEMS = (
    "Arvel Bress Caldor Drov Elmar Fenn Galt Hessem Ilv Jorr Kestr Lirr Marv Nevar Ostr Pel Querr Rost Selv Tarr Ulm "
    "Vesp Wern Xand Ystr Zol Amber Boral Cress Dalm Esk Farr Grend Hald Ister Keld Lysk Mirr Noss Orm Prav Rulm Skel "
    "Thorv Umbr Vald"
).split()
_ENDINGS = ("ia", "land", "ovia", "mark", "essa", "heim", "ora", "avar")
_PREFIXES = ("", "Upper ", "Lower ", "Old ", "New ", "Greater ")
_COUNTRIES = len(_PREFIXES) * len(_STEMS) * len(_ENDINGS)

# Two in five entities are countries, so that this many need at most 80 % of the names.
MAX_ENTITIES = 2 * _COUNTRIES


@dataclass(frozen=True)
class Cast:
    """The entities of a simulated world.

    **Arguments:** `names`: by entity id, all different; `kinds`: names of the kinds of entity; and int32 `(entity,)`:
    `kind`, index into `kinds`; `region`, index into `REGIONS`; `home`, id of the home country (its own of a country, -1
    of an alliance).
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    kind: np.ndarray
    region: np.ndarray
    home: np.ndarray


def make_cast(num_entities: int, rng: np.random.Generator) -> Cast:
    """Countries (two in five), an alliance per region where there is room, and domestic organisations."""
    stems, endings = rng.permutation(len(_STEMS)), rng.permutation(len(_ENDINGS))
    count = max(2, round(0.4 * num_entities))
    names, kind, region, home = [], [], [], []
    for country in range(count):
        # Every stem is used once before any is used again.
        lap, stem = divmod(country, len(stems))
        prefix, ending = divmod(lap, len(endings))
        # In each lap a stem takes its next ending, and the next prefix after all endings: no name occurs twice.
        root = _STEMS[stems[stem]] + _ENDINGS[(endings[stem % len(endings)] + ending) % len(endings)]
        names.append(_PREFIXES[prefix] + root)
        kind.append(0)
        region.append(int(rng.integers(len(REGIONS))))
        home.append(country)
    alliances = min(len(REGIONS), (num_entities - count) // 4)
    for place in range(alliances):
        names.append(f"{REGIONS[place]} Alliance")
        kind.append(1)
        region.append(place)
        home.append(-1)
    for number in range(num_entities - count - alliances):
        lap, country = divmod(number, count)
        # The organisations of a country come in different laps, so that they differ in kind and in name.
        domestic = (country + lap) % len(DOMESTIC)
        names.append(f"{DOMESTIC[domestic]} ({names[country]})")
        kind.append(2 + domestic)
        region.append(region[country])
        home.append(country)
    columns = (np.asarray(values, np.int32) for values in (kind, region, home))
    return Cast(tuple(names), ("Country", "Alliance", *DOMESTIC), *columns)


def relation_names(num_relations: int) -> tuple[str, ...]:
    """`num_relations` different names; beyond the twenty of `_RELATIONS`, numbered forms of them."""
    laps = [divmod(number, len(_RELATIONS)) for number in range(num_relations)]
    return tuple(_RELATIONS[i] + (f", form {lap + 1}" if lap else "") for lap, i in laps)
