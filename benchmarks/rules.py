"""The strongest rules that an evidence model has learnt, and what they say of the test split.

Why: rules that one can read are worth showing only if they hold where nothing was chosen. They are chosen on valid by
what the model makes of past events; how much of test they cover, and how much more often than usual they are right
there, is counted from the facts.

    tirgn train --data-path data/ICEWS14s --model evidence --model-dir models/evidence
    python -m benchmarks.rules --data-path data/ICEWS14s models/evidence/tirgn_best.npz
"""

from pathlib import Path

from benchmarks import common

FORMS: dict[str, list[str]] = {"all": [], "no repeats": ["--no-repeats"]}


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("checkpoint", metavar="CKPT", type=Path, help="an evidence checkpoint, or a mixture with one")
    args = common.finalize(parser.parse_args())
    forms, found = [], common.Document()
    for form, options in FORMS.items():
        words = ["explain", str(args.checkpoint), "--data-path", args.data_path, *common.load_words(args)]
        found = common.run_module("tirgn_cli", [*words, *options, "--rules", "--json", "--quiet"])
        keys = ("min_support", "found", "events", "popularity", "unit", "rules", "test")
        forms.append({"form": form} | {key: found[key] for key in keys if key in found})
    result = {"model_type": found["model_type"], "forms": forms}
    payload = {"dataset": found["dataset"], "setting": {}, "seed": found["seed"], "result": result}
    name = common.join_name("rules", found["dataset"]["name"], found["model_type"], args.tag)
    document = common.record(name, payload, args.results)
    for one in forms:
        rows = [
            [
                rule["words"],
                rule["learnt"],
                rule["valid"]["support"],
                rule["valid"].get("lift"),
                lift_of(rule.get("test")),
            ]
            for rule in one["rules"]
        ]
        table = f"{found['dataset']['name']}: {one['form']}"
        common.table(table, ["rule", "learnt", "support", "lift on valid", "lift on test"], rows)
        if "test" in one:
            coverage, lift = one["test"]["coverage"], one["test"].get("lift")
            common.note(f"{one['form']}: {100 * coverage:.1f} % of the test answers, lift {lift}")
    common.finish(document)


def lift_of(figures: common.Document | None) -> float | None:
    """The lift of a rule on a split that it may not apply to."""
    return None if figures is None else figures.get("lift")


if __name__ == "__main__":
    main()
