"""Audits of forecasters, as `tirgn audit` makes them, kept with where they come from.

Why: that a system does not look at the future, at the other queries of a snapshot or at ids is a claim like any other,
and public systems have been found to. Either a checkpoint is audited, or a Python function of any system; `--what` says
in words what it is. Modules are found on PYTHONPATH, and what they need is for whoever runs it to have.

    python -m benchmarks.audit --data-path data/YAGO --what "evidence, seed 0" models/yago/tirgn_best.npz
    python -m benchmarks.audit --data-path data/YAGO --what "TiRGN, released code" --model adapter:forecast
"""

import sys

from benchmarks import common
from benchmarks.common import table


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("checkpoint", nargs="?", metavar="CKPT", help="checkpoint to audit")
    parser.add_argument("--model", metavar="MODULE:FUNCTION", help="function to audit")
    parser.add_argument("--ranks", metavar="MODULE:FUNCTION", help="its ranking protocol")
    parser.add_argument("--what", metavar="TEXT", required=True, help="what is audited, in words")
    parser.add_argument("--tolerance", type=float, metavar="X", help="how far a score may move")
    parser.add_argument("--snapshots", type=int, default=3, metavar="N", help="snapshots that are forecast")
    parser.add_argument("--queries", type=int, default=100, metavar="N", help="facts of each that are asked for")
    args = common.finalize(parser.parse_args())
    if (args.checkpoint is None) == (args.model is None):
        sys.exit("give either a checkpoint or --model")
    words = [
        "audit",
        *([args.checkpoint] if args.checkpoint else []),
        "--data-path",
        args.data_path,
        "--json",
        "--quiet",
    ]
    given = {"model": args.model, "ranks": args.ranks, "tolerance": args.tolerance, "seed": args.seed}
    given |= {"snapshots": args.snapshots, "queries": args.queries}
    words += [word for name, value in given.items() if value is not None for word in (f"--{name}", str(value))]
    # Exit code 1 says that something moved, which is a result too.
    report = common.run_module("tirgn_cli", [*words, *common.load_words(args)], accepted=(0, 1))
    if not report:
        sys.exit("tirgn audit: no report, see its error")
    setting = {"tolerance": args.tolerance, "snapshots": args.snapshots, "queries": args.queries}
    payload = {"dataset": report.pop("dataset"), "setting": setting, "seed": report.pop("seed")}
    payload["result"] = {"what": args.what} | report
    name = common.join_name("audit", payload["dataset"]["name"], args.tag)
    document = common.record(name, payload, args.results)
    rows = [
        [one["of"], f"{one['check']}: {one['change']}", one["status"], one.get("moved"), one.get("max_difference")]
        for one in report["checks"]
    ]
    table(f"{payload['dataset']['name']}: {args.what}", ["of", "changed", "result", "moved", "most"], rows)
    common.finish(document)


if __name__ == "__main__":
    main()
