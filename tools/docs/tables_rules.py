"""The tables of `docs/rules.md`, from the record of `benchmarks/rules.py` on ICEWS14s."""

import textwrap
from pathlib import Path

from benchmarks.common import Document
from tools.docs.tables_readme import put, rows_table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "rules.md"
RECORD = "rules-ICEWS14s-evidence"


def page(records: list[Document]) -> str:
    """The page with its tables; a function of itself and the record."""
    (record,) = (one for one in records if one["benchmark"] == RECORD)
    forms = {form["form"]: form for form in record["result"]["forms"]}
    text = put("strongest", strongest(forms["all"]) + "\n" + coverage(forms["all"]), PAGE.read_text())
    text = put("example", example(forms["no repeats"]["rules"][0]), text)
    others = strongest(forms["no repeats"]) + "\n" + coverage(forms["no repeats"])
    return put("no repeats", others, text)


def example(rule: Document) -> str:
    """What one rule says, spelt out."""
    valid, ages = rule["valid"], "a day" if rule["to"] == 1 else f"{rule['from']} to {rule['to']} days"
    (who, past, whom), relation = rule["after"], rule["relation"]
    said = (
        f"*{rule['statement']}* says: in queries of valid about *{relation}*, {valid['support']:,} candidates B of "
        f"*A - {relation} - ?*, or candidates A of *? - {relation} - B*, had *{who} - {past} - {whom}* {ages} before, "
        f"and not since. Of these, {100 * valid['confidence']:.1f} % were the answer, which is {valid['lift']:.0f} "
        "times the share among all candidates that ever had anything to do with the one that is asked about."
    )
    return textwrap.fill(said.replace("_", " "), 120) + "\n"


def strongest(form: Document) -> str:
    """A row for every rule, the strongest first."""
    rows = []
    for rule in form["rules"]:
        valid, test = rule["valid"], rule.get("test", {})
        came = f"{100 * valid['confidence']:.0f} %"
        lifts = [f"{found['lift']:.0f}" if "lift" in found else "-" for found in (valid, test)]
        # Underscores stand for spaces in the names of ICEWS.
        rows.append([rule["words"].replace("_", " "), came, valid["support"], *lifts, learnt_by_age(rule)])
    return rows_table(["rule", "came", "support", "lift", "on test", "learnt by age, %"], rows)


def learnt_by_age(rule: Document) -> str:
    """The learnt probabilities in percent, the latest age first."""
    return ", ".join(f"{100 * age['learnt']:.1f}" for age in rule["ages"])


def coverage(form: Document) -> str:
    """What the rules say of test together, as a sentence."""
    test = form["test"]
    return (
        f"On test these rules apply to {test['candidates']:.2f} candidates of a query and cover "
        f"{100 * test['coverage']:.1f} % of the {test['answers']:,} answers; they are right {test['lift']:.0f} times "
        "as often as usual.\n"
    )
