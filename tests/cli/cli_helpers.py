"""How the command line is called in these tests, and on what."""

import json
from pathlib import Path

from typer.testing import CliRunner, Result

from tirgn_cli.app import app

ROOT = Path(__file__).parents[2]
SMALL = (
    *("--embedding-dim", "8", "--num-layers", "1", "--history-len", "2", "--batch-size", "0"),
    *("--set", "conv_channels=2", "--set", "max_buckets=1", "--precision", "f32", "--remat", "none"),
)
# Of an evidence model; the other settings of `SMALL` mean nothing to it.
SMALL_EVIDENCE = (
    *("--embedding-dim", "4", "--set", "max_buckets=1"),
    *("--set", "evidence_heads=2", "--set", "evidence_hidden=3"),
)
PLAIN = {"NO_COLOR": "1", "COLUMNS": "80", "TERM": "dumb", "TIRGN_DEBUG": None}


def call_app(*args: object, env: dict[str, str] | None = None) -> Result:
    """`tirgn ARGS` in this process; the result has exit_code, stdout and stderr."""
    return CliRunner(env=PLAIN | (env or {})).invoke(app, [str(arg) for arg in args], prog_name="tirgn")


def measured(result: Result) -> dict:
    """The one JSON document on stdout."""
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)


def write_folder(place: Path) -> Path:
    """A data set in the RE-GCN text format: 6 entities, 2 relations, 10 snapshots that alternate."""
    place.mkdir()
    facts = [(s, t % 2, (s + 1 + t % 2) % 6, t) for t in range(10) for s in range(6)]
    for name, times in (("train", range(8)), ("valid", (8,)), ("test", (9,))):
        rows = ["\t".join(map(str, fact)) for fact in facts if fact[3] in times]
        (place / f"{name}.txt").write_text("\n".join(rows) + "\n")
    (place / "stat.txt").write_text("6\t2\n")
    return place
