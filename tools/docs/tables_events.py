"""The table of the event model: how good its probabilities are, from the records of `benchmarks.events`."""

from benchmarks.common import Document
from tools.docs.tables_readme import rows_table

EVENTS = """The event model on test, of facts with a past: Brier skill against the best simple rule with its 95 %
interval ("-" where the split holds less than two horizons), the calibration error of facts with at least 1 %, precision
of the 100 most probable facts of a snapshot beside the best rule's, and events that came against those expected, of all
kinds. The last two columns are facts that never came before, by AUC, and the training with its evaluation; the machine
did other work at the same time, so that times are upper bounds. Steps are those of the data: days, or quarter hours of
GDELT-resplit. gdelt_events_2018-01 has six days in two windows, of which four are left to learn from.
"""
POSSIBLE = """On the simulated world, whose true rates are known, the model goes this share of the way from the best
rule's Brier score to that of the true rates, which know what no past tells: {}.
"""


def events(records: list[Document]) -> str:
    """One row for every data set and horizon; records with a tag of their own, such as Poisson counts, stay out."""
    rows = list[list[str]]()
    for record in main_records(records):
        result = record["result"]
        for found in result["test"]["horizons"]:
            interval = found["skill_interval"]
            between = "-" if interval is None else "{:.1f} to {:.1f}".format(*(100 * bound for bound in interval))
            rules = {name: rule["precision"]["100"] for name, rule in found["rules"].items() if name != "model"}
            best = max(rules, key=lambda name: rules[name])
            rows.append(
                [
                    record["dataset"]["name"],
                    str(found["horizon"]),
                    f"{100 * found['skill']:.1f} ({between}), {found['best_baseline']}",
                    f"{100 * found['ece']:.2f}",
                    f"{found['rules']['model']['precision']['100']:.3f} ({rules[best]:.3f}, {best})",
                    f"{found['totals']['all']:.3f}",
                    f"{found['new_facts']['auc']:.3f}",
                    f"{result['seconds']:.0f} s, {result['peak_rss_bytes'] / 2**30:.1f} GiB",
                ]
            )
    columns = ["data", "steps", "Brier skill %", "ECE, points", "P@100", "came / expected", "AUC, new", "training"]
    return rows_table(columns, rows)


def main_records(records: list[Document]) -> list[Document]:
    """The trainings with the counts and settings that `tirgn train --model events` has."""
    return [
        record
        for record in records
        if record["benchmark"] == f"events-{record['dataset']['name']}-seed{record['seed']}"
    ]


def possible(records: list[Document]) -> str:
    """The sentence on the simulated world; empty without its record."""
    for record in main_records(records):
        shares = record["result"].get("share_of_possible_skill", ())
        if shares:
            words = [f"{100 * one['share']:.0f} % within {one['horizon']}" for one in shares]
            return POSSIBLE.format(", ".join(words))
    return ""
