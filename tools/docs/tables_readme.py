"""The two tables of the README, from the records: test MRR by data set and model, and what a step costs."""

import re
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from benchmarks.common import Document

README = Path(__file__).resolve().parents[2] / "README.md"
MODELS = {
    "tirgn": "TiRGN",
    "evidence": "evidence",
    "tirgn-evidence": "TiRGN with evidence",
    "regcn-evidence": "RE-GCN with evidence",
}
# In the order in which they are looked for.
RECIPES = (("tirgn", "fast"), ("tirgn", "exact"), *((name, "evidence") for name in MODELS if name.endswith("evidence")))


def rows_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown."""

    def line(cells):
        return "| " + " | ".join(str(cell) for cell in cells) + " |"

    return "\n".join([line(columns), line(["---"] * len(columns)), *map(line, rows)]) + "\n"


def accuracy(
    trained: dict[tuple[str, str, str], list[Document]],
    counted: dict[str, float],
    published: dict[str, dict[str, float]],
    datasets: tuple[str, ...],
) -> str:
    """Test MRR in percent, of several seeds the mean; of TiRGN the fast recipe where it was run.

    **Arguments:** `trained`: records by (data, model, recipe); `counted`: MRR of the recurrency baseline; `published`:
    by model and data.
    """
    rows = []
    for name in datasets:
        found = {}
        for model, recipe in RECIPES:
            if records := trained.get((name, model, recipe)):
                # Of a model with several recipes, the first one that has a record is shown.
                found.setdefault(model, mean(one["result"]["test"]["entity"]["mrr"] for one in records))
        cells = [f"{100 * found[model]:.1f}" if model in found else "-" for model in MODELS]
        paper = published["tirgn"].get(name)
        rows.append([name, "-" if paper is None else f"{paper:.1f}", f"{100 * counted[name]:.1f}", *cells])
    return rows_table(
        ["test MRR, %", "TiRGN, published", "counting", *(f"{said}, here" for said in MODELS.values())], rows
    )


def speed(records: list[Document]) -> str:
    """Seconds of an epoch on two CPU cores, and the step beside plain PyTorch's."""
    rows = []
    for record in records:
        match = re.fullmatch(r"epoch-(.*)-cpu-(exact|fast)", record["benchmark"])
        if match:
            peak = record["result"]["peak_rss_bytes"] / 2**30
            seconds = record["result"]["epoch_seconds"]["median"]
            rows.append([match[1], match[2], f"{seconds:.0f} s", f"{peak:.1f} GiB"])
    told = rows_table(["an epoch on 2 CPU cores", "recipe", "time", "peak memory"], rows)
    for record in records:
        if record["benchmark"].startswith("peer-") and "torch_eager" in record["result"]["speedup"]:
            times, data = record["result"]["speedup"]["torch_eager"], record["dataset"]["name"]
            told += f"\nOne exact step on {data}: {times:.1f} times as fast as the same mathematics in plain PyTorch.\n"
    return told


def put(name: str, table: str, text: str) -> str:
    """`text` with `table` between the marks of `name`."""
    begin, end = f"<!-- {name}: tools/docs/tables.py -->\n", f"<!-- end of {name} -->"
    before, found, rest = text.partition(begin)
    assert found and end in rest, f"{README.name} has no marks of {name}"
    return before + begin + table + end + rest.partition(end)[2]
