"""The columns of GDELT's raw event files, by the number of fields in a line, and those of the table made of them."""

_GEO = ("Type", "FullName", "CountryCode", "ADM1Code", "ADM2Code", "Lat", "Long", "FeatureID")
_PLACES = ("Actor1Geo", "Actor2Geo", "ActionGeo")
_ACTOR = (
    *("Code", "Name", "CountryCode", "KnownGroupCode", "EthnicCode"),
    *("Religion1Code", "Religion2Code", "Type1Code", "Type2Code", "Type3Code"),
)
_HEAD = (
    *("GlobalEventID", "Day", "MonthYear", "Year", "FractionDate"),
    *(f"Actor{number}{name}" for number in (1, 2) for name in _ACTOR),
    *("IsRootEvent", "EventCode", "EventBaseCode", "EventRootCode", "QuadClass", "GoldsteinScale"),
    *("NumMentions", "NumSources", "NumArticles", "AvgTone"),
)


def _columns(geo: tuple[str, ...]) -> tuple[str, ...]:
    return (*_HEAD, *(f"{place}_{name}" for place in _PLACES for name in geo), "DATEADDED", "SOURCEURL")


# GDELT 2.0, a file each quarter of an hour; GDELT 1.0, a file each day, before April 2013 without the address.
QUARTERLY = 61
_DAILY = _columns(tuple(name for name in _GEO if name != "ADM2Code"))
LAYOUTS = {QUARTERLY: _columns(_GEO), 58: _DAILY, 57: _DAILY[:-1]}
WIDTHS = f"{', '.join(map(str, sorted(LAYOUTS)[:-1]))} or {max(LAYOUTS)}"

# Columns that are read as numbers, with polars' name of their type; every other one is text.
NUMBERS = {
    "GlobalEventID": "Int64",
    "Day": "Int64",
    "IsRootEvent": "Int32",
    "QuadClass": "Int32",
    "NumMentions": "Int32",
    "AvgTone": "Float64",
    "DATEADDED": "Int64",
}
FACT = ("entity1", "relation", "entity2", "timestamp")
# The table: a fact, then what else is kept of its event, with polars' name of the type.
TABLE = {
    "entity1": "String",
    "relation": "String",
    "entity2": "String",
    "timestamp": "Datetime",
    "EventCode": "String",
    "QuadClass": "Int8",
    "GoldsteinScale": "Float32",
    "NumMentions": "Int32",
    "AvgTone": "Float32",
    "GlobalEventID": "Int64",
}
