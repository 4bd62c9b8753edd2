"""The table of `docs/audit.md`, from the records of `benchmarks/audit.py`: what moved, by system."""

from pathlib import Path

from benchmarks.common import Document
from tools.docs.tables_readme import put, rows_table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "audit.md"
LOOKED = ("scores", "ranks", "figures")


def audits(records: list[Document]) -> str:
    """A row for each audited system: the checks that were made of each kind, and what moved in them."""
    rows: list[list[str]] = []
    for record in records:
        found = record["result"]
        checks = [one for one in found["checks"] if one["status"] != "not checked"]
        asked = max(one["queries"] for one in checks)
        cells: list[str] = []
        for of in LOOKED:
            mine = [one for one in checks if one["of"] == of]
            moved = [one for one in mine if one["status"] != "clean"]
            told = "; ".join(f"{one['check']}, {one['change']}: {one['moved']} of {one['queries']}" for one in moved)
            cells.append("not looked at" if not mine else told or f"clean in {len(mine)} checks")
        rows.append([found["what"], record["dataset"]["name"], f"{asked}", *cells])
    return rows_table(["system", "data", "queries", *LOOKED], rows)


def page(records: list[Document]) -> str:
    """`docs/audit.md` with its table; a function of itself and the records."""
    audited = [record for record in records if record["benchmark"].startswith("audit-")]
    return put("audit", audits(audited), PAGE.read_text())
