"""Which columns of a table are the two entities, the relation and the time: by name, or as the caller says."""

from collections.abc import Iterable, Mapping, Sequence

from tirgn_eqx.errors import ConfigError, DataError, nearest, shown

COLUMNS = ("entity1", "relation", "entity2", "timestamp")
# Names come in pairs: a `source` beside a `subject` and an `object` is where the event was reported.
_PAIRS = (
    *(("entity1", "entity2"), ("subject", "object"), ("subj", "obj"), ("source", "target"), ("src", "dst")),
    *(("src", "tgt"), ("source", "destination"), ("src", "dest"), ("head", "tail"), ("h", "t"), ("s", "o")),
    *(("actor1", "actor2"), ("actor1name", "actor2name"), ("actor1_name", "actor2_name"), ("sender", "receiver")),
    *(("sender", "recipient"), ("from", "to"), ("subject_name", "object_name"), ("source_name", "target_name")),
)
_RELATIONS = ("relation", "rel", "r", "predicate", "pred", "p", "relation_type", "edge", "edge_type", "event_type")
_RELATIONS += ("event", "eventcode", "event_code", "relation_name", "cameo_code", "label", "verb", "interaction")
_TIMES = ("timestamp", "time", "datetime", "date", "t", "ts", "event_time", "event_date", "dateadded", "when", "day")
_TIMES += ("date_time", "created_at", "occurred_at")
_LAST_TIMES = ("sqldate", "year")
FORM = "write it like --columns entity1=subject,relation=verb,entity2=object,timestamp=day"


def parse_columns(columns: str | Mapping[str, str] | None) -> dict[str, str]:
    """`entity1=subject,relation=verb` as names by role; those not given are found by name.

    **Raises:** ConfigError for a role that does not exist, or is given twice.
    """
    if columns is None:
        return {}
    if isinstance(columns, Mapping):
        pairs = list(columns.items())
    else:
        parts = [part for part in columns.split(",") if part.strip()]
        split = [(part, *part.partition("=")) for part in parts]
        for part, _, equals, name in split:
            if not equals or not name.strip():
                raise ConfigError(f"columns: {shown(part)} is not role=column; {FORM}")
        pairs = [(role.strip(), name.strip()) for _, role, _, name in split]
    out: dict[str, str] = {}
    for role, name in pairs:
        if role not in COLUMNS:
            known = ", ".join(COLUMNS)
            raise ConfigError(f"columns: {shown(role)} does not exist{nearest(role, COLUMNS)}; known: {known}; {FORM}")
        if role in out:
            raise ConfigError(f"columns: {role} is given twice; {FORM}")
        out[role] = str(name)
    return out


def by_position(chosen: Mapping[str, str]) -> bool:
    """Whether columns are given as numbers from 1, as of a text table without a first line of names."""
    return len(chosen) == len(COLUMNS) and all(name.isdecimal() for name in chosen.values())


def find_columns(found: Sequence[str], chosen: Mapping[str, str], where: str, need: str) -> dict[str, str]:
    """The name of the column for each role of `COLUMNS`.

    A name of `COLUMNS` itself comes first, then the well-known ones in any case, where exactly one fits.

    **Arguments:** `found`: the columns there are; `chosen`: as `parse_columns` gives them; `where`: the table, for
    messages; `need`: what to do, likewise.

    **Raises:** DataError for a role without a column, or with several.
    """
    for role, name in chosen.items():
        if name not in found:
            hint = nearest(name, found)
            raise DataError(f"{where}: has no column {shown(name)} for {role}{hint}; found {some(found)}; {FORM}")
    out = dict(chosen)
    rest = [name for name in found if name not in out.values()]
    for role in COLUMNS:
        if role not in out and role in rest:
            out[role] = role
    names: dict[str, list[str]] = {}
    for name in rest:
        if name not in out.values():
            names.setdefault(name.strip().lower(), []).append(name)
    _find_entities(out, names, where)
    for role, tiers in (("relation", (_RELATIONS,)), ("timestamp", (_TIMES, _LAST_TIMES))):
        for tier in tiers:
            fitting = [name for alias in tier for name in names.get(alias, [])]
            if role not in out and fitting:
                exact = [name for name in fitting if name.strip().lower() == role]
                out[role] = _only(role, exact or fitting, where)
    missing = [role for role in COLUMNS if role not in out]
    if missing:
        raise DataError(
            f"{where}: missing columns {', '.join(missing)}; found {some(found)}; rename them, or say which they are "
            f"with --columns {missing[0]}=NAME; {need}"
        )
    twice = [name for name in out.values() if list(out.values()).count(name) > 1]
    if twice:
        raise DataError(f"{where}: column {shown(twice[0])} cannot have two roles; {FORM}")
    return {role: out[role] for role in COLUMNS}


def _find_entities(out: dict[str, str], names: dict[str, list[str]], where: str) -> None:
    for given, other, place in (("entity1", "entity2", 0), ("entity2", "entity1", 1)):
        if given in out and other not in out:
            partner = [
                names[pair[1 - place]]
                for pair in _PAIRS
                if pair[place] == out[given].strip().lower() and pair[1 - place] in names
            ]
            if partner:
                out[other] = _only(other, partner[0], where)
            return
    if "entity1" in out:
        return
    pairs = [pair for pair in _PAIRS if pair[0] in names and pair[1] in names]
    # Only with a head is `t` its tail; but a `time` beside it takes nothing away.
    if len(pairs) > 1 and _PAIRS[0] in pairs:
        pairs = [_PAIRS[0]]
    if len(pairs) > 1:
        candidates = [f"{names[first][0]} and {names[second][0]}" for first, second in pairs]
        raise DataError(
            f"{where}: several pairs of columns may be the entities: {'; '.join(candidates[:4])}; say which with "
            f"--columns entity1={names[pairs[0][0]][0]},entity2={names[pairs[0][1]][0]}"
        )
    if pairs:
        for role, name in zip(("entity1", "entity2"), pairs[0]):
            out[role] = _only(role, names.pop(name), where)


def _only(role: str, fitting: Sequence[str], where: str) -> str:
    if len(fitting) > 1:
        raise DataError(
            f"{where}: columns {some(fitting)} may each be the {role}; say which with --columns {role}={fitting[0]}"
        )
    return fitting[0]


def some(names: Iterable[str]) -> str:
    """The first few names of columns."""
    names = [name if len(name) <= 40 else f"{name[:37]}..." for name in names]
    return ", ".join(names[:12]) + (f" and {len(names) - 12:,} more" if len(names) > 12 else "") or "none"
