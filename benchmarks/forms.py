"""What `tirgn eval` says of one checkpoint in several forms, as one record; for `multistep.py` and `practice.py`."""

import argparse

from benchmarks import common


def finish_forms(
    kind: str,
    title: str,
    column: str,
    forms: list[common.Document],
    found: common.Document,
    args: argparse.Namespace,
    **told: object,
) -> None:
    """Record, show and print what `tirgn eval` told of one checkpoint in several forms.

    **Arguments:** `kind`: begins the name of the result; `column`: the key by which `forms` name themselves; `found`:
    the last evaluation, for data, model and seed; `told`: kept with the forms.
    """
    result = {"model_type": found["model_type"], **told, "split": found["split"], "forms": forms}
    payload = {"dataset": found["dataset"], "setting": {}, "seed": found["seed"], "result": result}
    name = common.join_name(kind, found["dataset"]["name"], found["model_type"], args.tag)
    document = common.record(name, payload, args.results)
    rows = [[form[column], *(form["entity"][key] for key in ("mrr", "hits_at_1", "hits_at_10"))] for form in forms]
    common.table(f"{found['dataset']['name']}: {title}", [column, "MRR", "Hits@1", "Hits@10"], rows)
    common.finish(document)
