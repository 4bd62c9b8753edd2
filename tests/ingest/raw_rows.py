"""Raw GDELT rows for tests, and a reference ingest of them in plain Python."""

import datetime as dt
import re

from tirgn_eqx.ingest.gdelt_rows import GENERIC_ACTORS, LAYOUTS
from tirgn_eqx.ingest.options import IngestOptions

ROW = {
    "GlobalEventID": "1000",
    "Day": "20200101",
    "Actor1Code": "FRA",
    "Actor1Name": "FRANCE",
    "Actor1CountryCode": "FRA",
    "Actor2Code": "DEUGOV",
    "Actor2Name": "GERMANY",
    "Actor2CountryCode": "DEU",
    "IsRootEvent": "1",
    "EventCode": "0211",
    "EventBaseCode": "021",
    "EventRootCode": "02",
    "QuadClass": "1",
    "GoldsteinScale": "3.4",
    "NumMentions": "4",
    "AvgTone": "-1.5",
    "DATEADDED": "20200101001500",
    "SOURCEURL": "https://example.org/a",
}


def raw(number: int = 1000, width: int = 61, **fields: str) -> bytes:
    """A line of `width` columns with its newline; `fields` replace those of `ROW`."""
    values = ROW | {"GlobalEventID": str(number)} | ({} if width == 61 else {"DATEADDED": "20200101"}) | fields
    return "\t".join(values.get(column, "") for column in LAYOUTS[width]).encode() + b"\n"


def _time(text: str, digits: int) -> dt.datetime | None:
    try:
        return dt.datetime.strptime(text, "%Y%m%d%H%M%S"[: 6 if digits == 8 else 12]) if len(text) == digits else None
    except ValueError:
        return None


def _event(line: bytes) -> dict | None:
    """A line's fields by name with its times, or None when it is no event."""
    text = line.removesuffix(b"\r").removeprefix(b"\xef\xbb\xbf")
    try:
        fields = text.decode().split("\t")
    except UnicodeDecodeError:
        fields = text.decode("latin-1").split("\t")
    if len(fields) not in LAYOUTS or "\0" in line.decode("latin-1"):
        return None
    event = dict(zip(LAYOUTS[len(fields)], fields))
    number = r"-?[0-9]+(\.[0-9]+)?"
    forms = {"GlobalEventID": "[0-9]{1,18}", "IsRootEvent": "[01]", "EventCode": "[0-9]{2,4}", "QuadClass": "[1-4]"}
    forms |= {"GoldsteinScale": f"({number})?", "NumMentions": "[0-9]{1,9}", "AvgTone": number}
    event["day"] = _time(event["Day"], 8)
    event["added"] = _time(event["DATEADDED"], 14 if len(fields) == 61 else 8)
    right = all(re.fullmatch(form, event[column]) for column, form in forms.items())
    return event if right and event["day"] and event["added"] else None


def expected(files: list[tuple[str, bytes]], options: IngestOptions) -> dict:
    """Table, rejects and counts of files, event by event.

    `table`: (entity1, relation, entity2, timestamp, GlobalEventID); `rejects`: (file, line) of the files that
    have a line of a known number of columns.
    """
    kept, rejects, late = {}, [], []
    counts = dict.fromkeys(("read", "malformed", "dropped", "repeated_ids", "accepted", "blank_lines"), 0)
    for name, data in files:
        lines = data.split(b"\n")[: None if not data.endswith(b"\n") else -1]
        if not any(line.count(b"\t") + 1 in LAYOUTS for line in lines):
            continue
        for number, line in enumerate(lines, 1):
            if line in (b"", b"\r"):
                counts["blank_lines"] += bool(data)
                continue
            counts["read"] += 1
            event = _event(line)
            if event is None:
                counts["malformed"] += 1
                rejects.append((name, number))
                continue
            column = {"name": "Name", "code": "Code", "country": "CountryCode"}[options.actor]
            actors = [" ".join(event[f"Actor{side}{column}"].split()).upper() for side in (1, 2)]
            if (
                not all(actors)
                or int(event["QuadClass"]) not in options.quad_class
                or (options.root_only and event["IsRootEvent"] != "1")
                or int(event["NumMentions"]) < options.min_mentions
                or (options.drop_generic_actors and GENERIC_ACTORS & set(actors))
            ):
                counts["dropped"] += 1
                continue
            identity = int(event["GlobalEventID"])
            if identity in kept:
                counts["repeated_ids"] += 1
                continue
            counts["accepted"] += 1
            late.append((event["added"].date() - event["day"].date()).days)
            code = {"base": "EventBaseCode", "root": "EventRootCode"}.get(options.relation, "EventCode")
            relation = event[code] + (f"_Q{event['QuadClass']}" if options.relation == "code_quad" else "")
            time = event["added" if options.time == "added" else "day"]
            kept[identity] = (actors[0], relation, actors[1], time, identity)
    table, facts = [], set()
    for event in sorted(kept.values(), key=lambda event: event[3:]):
        if options.keep_duplicates or event[:4] not in facts:
            table.append(event)
        facts.add(event[:4])
    return {"table": table, "rejects": rejects, "counts": counts, "late": late, "facts": len(facts)}
