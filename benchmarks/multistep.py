"""Multi-step figures of a checkpoint, with frozen windows and with windows that are fed back.

Why: single-step figures let every snapshot be known once it was forecast; a plan for next month has no such luck.
Nobody has published multi-step figures of TiRGN.

    python -m benchmarks.multistep --data-path data/ICEWS14s models/icews14s/tirgn_best.npz --trained "exact, 7 epochs"
"""

from benchmarks import common
from benchmarks.forms import finish_forms


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("checkpoint", metavar="CKPT")
    parser.add_argument("--trained", metavar="TEXT", help="how it came about")
    args = common.finalize(parser.parse_args())
    forms, found = [], {}
    for window, extra in (("frozen", []), ("fed back", ["--feed-back"])):
        if found.get("model_type") == "evidence":
            break  # it has no window
        words = ["eval", args.checkpoint, "--data-path", args.data_path, *common.load_words(args)]
        found = common.run_module("tirgn_cli", [*words, "--multi-step", *extra, "--json", "--quiet"])
        figures = {name: found[name] for name in ("setting", "filter", "entity", "entity_raw", "relation", "seconds")}
        forms.append({"window": window} | figures)
    finish_forms("multistep", "multi-step", "window", forms, found, args, trained=args.trained)


if __name__ == "__main__":
    main()
