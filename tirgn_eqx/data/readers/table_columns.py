"""The columns of event tables: which one holds each role, as the caller says or by well-known names."""

from collections.abc import Iterable, Mapping, Sequence

from tirgn_eqx.data.readers.table_files import ACCEPTED_TABLES
from tirgn_eqx.errors import ConfigError, DataError, nearest, shown

COLUMNS = ("entity1", "relation", "entity2", "timestamp")
NEED = f"expected {ACCEPTED_TABLES}, with the columns {', '.join(COLUMNS)}"
_FORM = "write it like --columns entity1=subject,relation=verb,entity2=object,timestamp=day"
# Well-known names of the columns. Those of entities come in pairs: a `source` without a `target` may be where an event
# was reported.
_PAIRS = [
    tuple(pair.split("/"))
    for pair in (
        "entity1/entity2 subject/object subj/obj source/target src/dst src/tgt source/destination src/dest head/tail "
        "h/t s/o actor1/actor2 actor1name/actor2name actor1_name/actor2_name sender/receiver sender/recipient from/to "
        "subject_name/object_name source_name/target_name"
    ).split()
]
_RELATIONS = (
    "relation rel r predicate pred p relation_type edge edge_type event_type event eventcode event_code relation_name "
    "cameo_code label verb interaction"
).split()
_TIMES = (
    "timestamp time datetime date t ts event_time event_date dateadded when day date_time created_at occurred_at"
).split()
_LAST_TIMES = ["sqldate", "year"]


def parse_columns(columns: str | Mapping[str, str] | None) -> dict[str, str]:
    """`entity1=subject,relation=verb` as names by role; roles that are left out are found by well-known names.

    **Raises:** ConfigError for a role that does not exist, or is given twice.
    """
    if columns is None or isinstance(columns, Mapping):
        pairs = list((columns or {}).items())
    else:
        pairs = []
        for part in columns.split(","):
            role, equals, name = (word.strip() for word in part.partition("="))
            if part.strip() and not (equals and name):
                raise ConfigError(f"columns: {shown(part)} is not role=column; {_FORM}")
            pairs += [(role, name)] if part.strip() else []
    names: dict[str, str] = {}
    for role, name in pairs:
        if role not in COLUMNS:
            known = ", ".join(COLUMNS)
            raise ConfigError(f"columns: {shown(role)} does not exist{nearest(role, COLUMNS)}; known: {known}; {_FORM}")
        if role in names:
            raise ConfigError(f"columns: {role} is given twice; {_FORM}")
        names[role] = str(name)
    return names


def find_columns(columns: Sequence[str], chosen: Mapping[str, str], where: str) -> dict[str, str]:
    """The column of each role: as `chosen`, else of the role's own name, else the one with a well-known name.

    **Arguments:** `columns`: those of the table; `chosen`: as `parse_columns` gives them; `where`: the table, for
    messages.

    **Raises:** DataError for a role without a column, or with several.
    """
    for role, name in chosen.items():
        if name not in columns:
            hint = nearest(name, columns)
            raise DataError(f"{where}: has no column {shown(name)} for {role}{hint}; found {_list(columns)}; {_FORM}")
    found = dict(chosen)
    free = [name for name in columns if name not in found.values()]
    # The names of the roles go before all others, so that a table with exactly these is never unclear.
    found |= {role: role for role in COLUMNS if role not in found and role in free}
    names: dict[str, list[str]] = {}
    for name in free:
        if name not in found.values():
            # Columns that differ in case only stand together here, and `_only` asks which one is meant.
            names.setdefault(name.strip().lower(), []).append(name)
    _find_entities(found, names, where)
    # A day or a year counts only where no finer time was found: GDELT has `SQLDATE`, `Year` and `DATEADDED`.
    for role, aliases in (("relation", _RELATIONS), ("timestamp", _TIMES), ("timestamp", _LAST_TIMES)):
        fitting = [name for alias in aliases for name in names.get(alias, [])]
        if role not in found and fitting:
            found[role] = _only(role, names.get(role) or fitting, where)
    missing = [role for role in COLUMNS if role not in found]
    if missing:
        raise DataError(
            f"{where}: missing columns {', '.join(missing)}; found {_list(columns)}; rename them, or say which they "
            f"are with --columns {missing[0]}=NAME; {NEED}"
        )
    twice = [name for name in found.values() if list(found.values()).count(name) > 1]
    if twice:
        raise DataError(f"{where}: column {shown(twice[0])} cannot have two roles; {_FORM}")
    return {role: found[role] for role in COLUMNS}


def _find_entities(found: dict[str, str], names: dict[str, list[str]], where: str) -> None:
    """Add the columns of the entities, from `names` by their lower-case form, to those that are `found`."""
    for role, other, place in (("entity1", "entity2", 0), ("entity2", "entity1", 1)):
        if role in found and other not in found:
            for pair in _PAIRS:
                if pair[place] == found[role].strip().lower() and pair[1 - place] in names:
                    found[other] = _only(other, names[pair[1 - place]], where)
                    break
            return
    if "entity1" in found:
        return
    pairs = [pair for pair in _PAIRS if pair[0] in names and pair[1] in names]
    # `Entity1` and `Entity2` are clear, whatever other pairs there are.
    if len(pairs) > 1 and _PAIRS[0] in pairs:
        pairs = [_PAIRS[0]]
    if len(pairs) > 1:
        candidates = [f"{names[first][0]} and {names[second][0]}" for first, second in pairs]
        raise DataError(
            f"{where}: several pairs of columns may be the entities: {'; '.join(candidates[:4])}; say which with "
            f"--columns entity1={names[pairs[0][0]][0]},entity2={names[pairs[0][1]][0]}"
        )
    if pairs:
        # What is the tail of a head, such as `t`, is not the time as well.
        for role, name in zip(("entity1", "entity2"), pairs[0]):
            found[role] = _only(role, names.pop(name), where)


def _only(role: str, fitting: Sequence[str], where: str) -> str:
    if len(fitting) > 1:
        raise DataError(
            f"{where}: columns {_list(fitting)} may each be the {role}; say which with --columns {role}={fitting[0]}"
        )
    return fitting[0]


def _list(names: Iterable[str]) -> str:
    """The first few names of columns."""
    names = [name if len(name) <= 40 else f"{name[:37]}..." for name in names]
    return ", ".join(names[:12]) + (f" and {len(names) - 12:,} more" if len(names) > 12 else "") or "none"
