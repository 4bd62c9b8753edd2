"""The tables of the documentation are what the records say."""

import pytest

from tools.docs import tables, tables_audit, tables_events, tables_readme


def test_the_results_page_is_what_the_records_say():
    assert tables.PAGE.read_text() == tables.page(), "run: python -m tools.docs.tables"
    assert tables.tables_readme.README.read_text() == tables.readme(), "run: python -m tools.docs.tables"
    rules = tables.tables_rules
    assert rules.PAGE.read_text() == rules.page(tables.load()), "run: python -m tools.docs.tables"
    assert tables_audit.PAGE.read_text() == tables_audit.page(tables.load()), "run: python -m tools.docs.tables"


def test_tables_are_put_between_their_marks_alone():
    text = "before\n<!-- speed: tools/docs/tables.py -->\nold\n<!-- end of speed -->\nafter\n"
    made = tables_readme.put("speed", "| new |\n", text)
    assert made == text.replace("old\n", "| new |\n")
    with pytest.raises(AssertionError, match="no marks of accuracy"):
        tables_readme.put("accuracy", "", text)


def test_a_table_has_a_line_for_each_row():
    assert tables_readme.rows_table(["a", "b"], [[1, "x"]]) == "| a | b |\n| --- | --- |\n| 1 | x |\n"


def training(model_type, mrr, setting, **result):
    figures = {"entity": {"mrr": mrr}}
    found = {"model_type": model_type, "status": "complete", "test": figures} | result
    return {"benchmark": f"accuracy-{model_type}", "dataset": {"name": "A"}, "setting": setting, "result": found}


def test_the_structure_that_a_mixture_was_trained_with_is_a_training():
    structure = training("regcn", 0.4, {})["result"]
    given = training("regcn", 0.3, {}, status="given")["result"]
    setting = {"structure": {"loss": "full"}, "evidence": {}}
    records = [
        training("regcn-evidence", 0.5, setting, stages={"structure": structure}),
        training("tirgn-evidence", 0.6, setting, stages={"structure": given}),
    ]
    found = {
        key: [one["result"]["test"]["entity"]["mrr"] for one in some] for key, some in tables.trainings(records).items()
    }
    assert found == {
        ("A", "regcn-evidence", "evidence"): [0.5],
        ("A", "tirgn-evidence", "evidence"): [0.6],
        ("A", "regcn", "exact"): [0.4],
    }


def test_events_are_told_beside_the_best_rule_of_each_column():
    rule = {"brier": 0.1, "precision": {"100": 0.25}}
    horizon = {
        "horizon": 7,
        "skill": 0.1,
        "skill_interval": [0.05, 0.15],
        "best_baseline": "never",
        "ece": 0.005,
        "rules": {"model": rule, "never": {"precision": {"100": 0.1}}, "climatology": {"precision": {"100": 0.2}}},
        "totals": {"all": 0.98},
        "new_facts": {"auc": 0.9},
    }
    short = horizon | {"horizon": 30, "skill_interval": None}
    result = {"seconds": 60.0, "peak_rss_bytes": 2**30, "test": {"horizons": [horizon, short]}}
    record = {"benchmark": "events-A-seed0", "dataset": {"name": "A"}, "seed": 0, "result": result}
    other = record | {"benchmark": "events-A-seed0-poisson"}
    rows = tables_events.events([record, other]).splitlines()[2:]
    assert rows[0] == (
        "| A | 7 | 10.0 (5.0 to 15.0), never | 0.50 | 0.250 (0.200, climatology) | 0.980 | 0.900 | 60 s, 1.0 GiB |"
    )
    assert len(rows) == 2 and "10.0 (-), never" in rows[1]
    assert tables_events.possible([record]) == ""
    share = [{"horizon": 1, "share": 0.5}]
    known = record | {"result": result | {"share_of_possible_skill": share}}
    assert "50 % within 1" in tables_events.possible([known])


def test_an_audit_says_what_moved():
    checks = [
        {"of": "scores", "check": "ids", "change": "renumbered", "status": "moved", "moved": 2, "queries": 8},
        {"of": "scores", "check": "repeat", "change": "asked again", "status": "clean", "moved": 0, "queries": 9},
        {"of": "ranks", "check": "repeat", "change": "ranked again", "status": "clean", "moved": 0, "queries": 9},
        {"of": "ranks", "check": "ties", "change": "any", "status": "not checked"},
    ]
    record = {"benchmark": "audit-A", "dataset": {"name": "A"}, "result": {"what": "one", "checks": checks}}
    row = tables_audit.audits([record]).splitlines()[-1]
    assert row == "| one | A | 9 | ids, renumbered: 2 of 8 | clean in 1 checks | not looked at |"
