"""A model as one would use it: refitted on train and valid, and learning from every snapshot once it is over.

Why: published figures are of models that never learn from valid and stand still during test. Whoever forecasts does
neither, and wants to know what that is worth. These figures stand beside no published ones.

    tirgn train --data-path data/ICEWS14s --model evidence --refit --model-dir models/evidence
    python -m benchmarks.practice --data-path data/ICEWS14s models/evidence
"""

from pathlib import Path

from benchmarks import common
from benchmarks.forms import finish_forms


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("models", metavar="DIR", type=Path, help="the --model-dir of a training, best with --refit")
    args = common.finalize(parser.parse_args())
    forms, found = [], common.Document()
    for name, checkpoint in (("selected", "tirgn_best.npz"), ("refitted", "tirgn_refit.npz")):
        path = args.models / checkpoint
        for learning, extra in (("", []), (", online", ["--online"])) if path.exists() else ():
            words = ["eval", str(path), "--data-path", args.data_path, *common.load_words(args), *extra]
            found = common.run_module("tirgn_cli", [*words, "--json", "--quiet"])
            kept = {
                key: found[key] for key in ("setting", "filter", "refit", "entity", "entity_raw", "relation", "seconds")
            }
            forms.append({"form": name + learning} | kept)
    if not forms:
        parser.error(f"{args.models}: holds no tirgn_best.npz")
    finish_forms("practice", "as one would use it", "form", forms, found, args)


if __name__ == "__main__":
    main()
