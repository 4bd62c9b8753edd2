"""The table of models that are evaluated on data which they were not trained on."""

from benchmarks.common import Document
from tools.docs.tables_readme import rows_table

TRANSFER = """Test MRR, single-step, time-aware filter, of evidence models without a background that were trained on one
set alone and never on the other (`tirgn eval --map-relations by-name`), by what came before the answer. Facts of
relations that they do not know are left out. "Counting" is the recurrency baseline on the same facts, with parameters
searched on their valid split; "the same, trained on it" is the same model trained on the train split of these data, and
"evidence, trained on it" the model with a background, with all its heads and epochs; both know all relations.
GDELT-resplit holds the events of 25 to 27 January 2018, hence the evaluation on other days of GDELT, two weeks earlier.
"""
COLUMNS = ["trained on", "heads, width, epochs", "evaluated on", "relations known", "facts left out", "MRR"]
COLUMNS += ["exact recurrence", "known pair", "new", "counting", "the same, trained on it", "evidence, trained on it"]


def transfers(records: list[Document]) -> str:
    """One row for each of the records of `benchmarks/transfer.py`."""
    rows = []
    for record in records:
        result, setting, dataset = record["result"], record["setting"], record["dataset"]
        test, known = result["transferred"]["test"], result["relations"]
        rows.append(
            [
                record["source"]["dataset"]["name"],
                f"{setting['evidence_heads']}, {setting['evidence_hidden']}, {setting['epochs']}",
                dataset["name"],
                f"{known['known']} of {known['of_data']}",
                f"{sum(dataset.get('left_out', {}).values()):,}",
                _percent(test["entity"]["mrr"]),
                *(_percent(part["figures"]["mrr"]) for part in test["strata"]),
                _percent(result["recurrency"]["test"]["entity"]["mrr"]),
                *(_of(result.get(name)) for name in ("same_model_trained_on_target", "trained_on_target")),
            ]
        )
    return rows_table(COLUMNS, rows)


def _of(trained: Document | None) -> str:
    return "-" if trained is None else _percent(trained["test"]["entity"]["mrr"])


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"
