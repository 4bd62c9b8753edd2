"""Files as ICEWS and POLECAT publish them, written after their codebooks, with the faults that published files have."""

import random

from tirgn_eqx.ingest import icews_rows, polecat_rows

ICEWS_ROW = {
    "Event ID": "20718170",
    "Event Date": "2014-01-01",
    "Source Name": "Angela Merkel",
    "Source Sectors": "Executive,Government,Center Right",
    "Source Country": "Germany",
    "Event Text": "Consult",
    "CAMEO Code": "040",
    "Intensity": "1.0",
    "Target Name": "Francois Hollande",
    "Target Sectors": "Executive,Government",
    "Target Country": "France",
    "Story ID": "34101469",
    "Sentence Number": "3",
    "Publisher": "Reuters",
    "City": "Berlin",
    "District": "",
    "Province": "Berlin",
    "Country": "Germany",
    "Latitude": "52.5244",
    "Longitude": "13.4105",
}
POLECAT_ROW = {
    "Event ID": "2023010100012_3",
    "Event Date": "2023-01-01",
    "Event Type": "CONSULT",
    "Event Mode": "visit",
    "Intensity": "2.0",
    "Quad Code": "VERBAL COOPERATION",
    "Contexts": "diplomatic;executive",
    "Actor Name": "Olaf Scholz",
    "Actor Country": "DEU",
    "Actor COW": "255",
    "Primary Actor Sector": "GOV",
    "Actor Sectors": "GOV",
    "Actor Title": "Chancellor of Germany",
    "Actor Name Raw": "Chancellor Scholz",
    "Wikipedia Actor ID": "1093542",
    "Recipient Name": "Emmanuel Macron",
    "Recipient Country": "FRA",
    "Recipient COW": "220",
    "Primary Recipient Sector": "GOV",
    "Recipient Sectors": "GOV",
    "Recipient Title": "None",
    "Recipient Name Raw": "Macron",
    "Country": "FRA",
    "Latitude": "48.8534",
    "Longitude": "2.3488",
    "Source": "AFP",
    "Publication Date": "2023-01-02",
    "Language": "en",
    "Version": "NGEC_coder-Vers001-Run-001",
}
ICEWS_HEADER, POLECAT_HEADER = (book.header + b"\n" for book in (icews_rows.BOOK, polecat_rows.BOOK))


def _line(columns: tuple[str, ...], values: dict[str, str]) -> bytes:
    return "\t".join(values.get(column, "") for column in columns).encode() + b"\n"


def icews(number: int = 20718170, **fields: str) -> bytes:
    """A line of ICEWS; `fields` replace those of `ICEWS_ROW`, with underscores for spaces."""
    named = {name.replace("_", " "): value for name, value in fields.items()}
    return _line(icews_rows.BOOK.columns, ICEWS_ROW | {"Event ID": str(number)} | named)


def polecat(number: int = 1, **fields: str) -> bytes:
    """A line of POLECAT; `fields` replace those of `POLECAT_ROW`, with underscores for spaces."""
    named = {name.replace("_", " "): value for name, value in fields.items()}
    empty = dict.fromkeys(polecat_rows.BOOK.columns, "None")
    return _line(polecat_rows.BOOK.columns, empty | POLECAT_ROW | {"Event ID": f"20230101{number:05d}_1"} | named)


# Faults of published files: a name, what the report calls it, and how a line gets it.
ICEWS_FAULTS = {
    "code_without_zero": lambda n: icews(n, CAMEO_Code="40"),
    "code_with_letter": lambda n: icews(n, CAMEO_Code="13y", Event_Text="Threaten"),
    "quoted": lambda n: icews(n, Source_Name='"Edward ""Ed"" Miliband"'),
    "trailing_tabs": lambda n: icews(n).replace(b"\n", b"\t\t\n"),
    "generic_actor": lambda n: icews(n, Target_Name="Citizen (India)", Target_Country="India"),
    "outside_file": lambda n: icews(n, Event_Date="2015-01-01"),
    "no_actor": lambda n: icews(n, Source_Name=""),
    "malformed": lambda n: icews(n, Event_Date="2014-13-01"),
    "repeated_ids": lambda n: icews(20718170),
    "latin1": lambda n: icews(n, Source_Name="Fran\x00ois").replace(b"\x00", b"\xe7"),
}
POLECAT_FAULTS = {
    "several_actors": lambda n: polecat(n, Actor_Name="Hamas;Israel"),
    "several_countries": lambda n: polecat(n, Recipient_Country="FRA;DEU"),
    "several_sectors": lambda n: polecat(n, Actor_Sectors="GOV;MIL"),
    "quad_code_missing": lambda n: polecat(n, Quad_Code="None"),
    "quoted": lambda n: polecat(n, Actor_Name='"The ""Group of 20"""'),
    "trailing_tabs": lambda n: polecat(n).replace(b"\n", b"\t\t\t\n"),
    "generic_actor": lambda n: polecat(n, Actor_Name="police"),
    "early": lambda n: polecat(n, Event_Date="2023-02-01"),
    "more": lambda n: polecat(n, Event_Date="2001-09-11"),
    "no_actor": lambda n: polecat(n, Recipient_Name="None"),
    "malformed": lambda n: polecat(n, Event_Type="YIELDED"),
    "repeated_ids": lambda n: polecat(1),
    "latin1": lambda n: polecat(n, Actor_Name="Fran\x00ois").replace(b"\x00", b"\xe7"),
}


def faulty(kind: str, seed: int, lines: int = 200) -> tuple[bytes, dict[str, int]]:
    """A file of `lines` lines, most of them sound, in any order, and how many have each fault."""
    chance = random.Random(seed)
    faults, sound = (ICEWS_FAULTS, icews) if kind == "icews" else (POLECAT_FAULTS, polecat)
    first = 20718170 if kind == "icews" else 1
    counts = dict.fromkeys(faults, 0)
    # The first line is sound: others repeat its id.
    made = [sound(first)]
    for number in range(first + 1, first + lines):
        if chance.random() < 0.4:
            name = chance.choice(list(faults))
            counts[name] += 1
            made.append(faults[name](number))
        else:
            made.append(sound(number))
    header = ICEWS_HEADER if kind == "icews" else POLECAT_HEADER
    return header + b"".join(made), counts
