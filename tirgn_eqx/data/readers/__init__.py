"""Readers: every form of data becomes a `TemporalGraph`.

| kind | what it is | reader |
|---|---|---|
| `sim` | the simulated world | `synthetic.world.simulate` |
| `mapped` | a folder of `tirgn data map` | `mapped.read_mapped` |
| `tgb` | a folder of TGB 2.0 | `tgb.read_tgb` |
| `folder` | a folder in the RE-GCN text format | `regcn_text.read_folder` |
| `parquet`, `table` | an event table: a file, or a folder of parts | `events.read_events` |
| `frame` | an event table as a DataFrame in memory | `events.read_events` |

`load.FORMS` is this table in code. To add a form of data, write a module with a function that takes a path and returns
a `TemporalGraph`, built by `tirgn_eqx.data.graph.from_facts` with a `provenance` by which `load_graph` finds it again,
and add an entry to `FORMS`; `docs/extending.md` shows it for a SQLite database. A further published data set is an
entry in `tirgn_eqx/data/published.json`, see `published`.
"""
