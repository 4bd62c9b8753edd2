"""Event tables of a few days, and the facts of a graph by name."""

import datetime as dt

import polars as pl

EPOCH = dt.datetime(1970, 1, 1)
YEAR_2000 = 946_684_800


def events(count=10, *, per_day=1, start=dt.datetime(2018, 1, 9)):
    """`count` days of `per_day` events, one an hour."""
    moments = [start + dt.timedelta(days=day, hours=hour) for day in range(count) for hour in range(per_day)]
    names = [f"actor {index % 7}" for index in range(len(moments))]
    return pl.DataFrame(
        {
            "entity1": names,
            "relation": [f"{10 + index % 3:03d}" for index in range(len(moments))],
            "entity2": names[::-1],
            "timestamp": pl.Series(moments, dtype=pl.Datetime("us")),
        }
    )


def write(folder, table):
    table.write_parquet(folder / "events.parquet")
    return folder / "events.parquet"


def named(graph):
    """Facts as (time, subject, relation, object) with names, sorted."""
    return sorted(
        (int(graph.times[at]), graph.entity_names[s], graph.relation_names[r], graph.entity_names[o])
        for at, s, r, o in zip(graph.snapshot, graph.subject, graph.relation, graph.object)
    )
