"""A comparison of two models on the same queries, as `tirgn compare` makes it, kept with where it comes from.

Why: "equal" and "better" are claims about a difference, so they are recorded with its interval: which recipe, model or
seed against which other one, by kind of query. Checkpoints are not kept; the training of each is recorded by
`accuracy.py`, and `--trained` says how each was made.

    python -m benchmarks.compare --data-path data/YAGO --tag fast-exact fast/tirgn_best.npz exact/tirgn_best.npz
"""

from benchmarks import common
from benchmarks.common import table


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("models", nargs=2, metavar="MODEL", help="two checkpoints, or recurrency")
    parser.add_argument("--trained", nargs=2, metavar="TEXT", help="how each of them came about")
    args = common.finalize(parser.parse_args())
    words = ["compare", *args.models, "--data-path", args.data_path, "--json", "--quiet", *common.load_words(args)]
    report = common.run_module("tirgn_cli", words)
    # One row a snapshot is too much to keep.
    del report["strata"]["snapshot"]
    for model, trained in zip(report["models"], args.trained or [None, None]):
        model |= {"name": model["name"].rsplit("/", 1)[-1], "trained": trained}
    payload = {"dataset": report.pop("dataset"), "setting": {}, "seed": report["bootstrap"]["seed"], "result": report}
    name = common.join_name("compare", payload["dataset"]["name"], args.tag)
    document = common.record(name, payload, args.results)
    one, two = report["models"]
    rows = [
        [figure, one["entity"][figure], two["entity"][figure], found["points"], str(found["interval_points"])]
        for figure, found in report["difference"].items()
    ]
    table(f"{payload['dataset']['name']}: A against B", ["figure", "A", "B", "points", "interval"], rows)
    common.finish(document)


if __name__ == "__main__":
    main()
