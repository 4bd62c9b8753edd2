"""This tree beside an earlier commit: its size and form, whether trainings are equal bit for bit, and their speed.

Why: a change that is meant to leave the numbers alone has to show that it did.

    python -m benchmarks.before_after --before COMMIT
    python -m benchmarks.before_after --before COMMIT --parts census

`census` counts modules, lines, docstrings and comments of `tirgn_eqx` and `cli`. `bits` trains every model family on a
simulated world at both commits and compares each logged figure and each array of the checkpoints, whatever their names.
`speed` times epochs and validations of both in turn, each training in a process of its own, and gives their ratio.
"""

import ast
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import tokenize
from collections.abc import Mapping
from pathlib import Path

from benchmarks import common
from benchmarks.common import ROOT, Document, note, spread, table

WORLD = "sim:num_entities=60,num_relations=10,num_days=30,facts_per_day=40"
TINY = {"embedding_dim": 16, "max_buckets": 2, "eval_interval": 1, "epochs": 2}
LARGE_WORLD = "sim:num_entities=600,num_relations=40,num_days=40,facts_per_day=400"
LARGE = {"embedding_dim": 100, "max_buckets": 2, "eval_interval": 1, "epochs": 8}
FAMILIES = {
    "TiRGN": ["--model", "tirgn"],
    "TiRGN in bf16": ["--model", "tirgn", "--precision", "bf16"],
    "RE-GCN": ["--model", "regcn"],
    "evidence": ["--model", "evidence"],
    "mixture": ["--model", "tirgn", "--history", "evidence"],
}


# --- size and form ---------------------------------------------------------------------------------------------


def read_sources(tree: Path) -> dict[str, str]:
    """Text of every Python file of library and command line, by its path within the tree."""
    files = [path for folder in ("tirgn_eqx", "cli") for path in sorted((tree / folder).rglob("*.py"))]
    return {path.relative_to(tree).as_posix(): path.read_text(encoding="utf-8") for path in files}


def name_of(path: str) -> str:
    """`cli/tirgn_cli/app.py` -> `tirgn_cli.app`."""
    return path.removeprefix("cli/").removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def docstring_lines(tree: ast.AST) -> int:
    total = 0
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and type(first.value.value) is str:
                total += (first.end_lineno or first.lineno) - first.lineno + 1
    return total


def imported(path: str, tree: ast.AST, modules: dict[str, str]) -> set[str]:
    """Modules of `modules` (name -> path) that a file imports anywhere, also within functions."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [node.module]
            found |= {name for name in names if name in modules and not modules[name].endswith("__init__.py")}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in modules}
    return {name for name in found if modules[name] != path}


def count_circles(edges: dict[str, set[str]]) -> int:
    """Groups of files that import each other, directly or through others (Tarjan's components of two or more)."""
    index, low, stack, groups = {}, {}, [], 0

    def visit(node: str) -> None:
        nonlocal groups
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(edges.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            groups += len(group) > 1

    for node in sorted(edges):
        if node not in index:
            visit(node)
    return groups


def take_census(tree: Path) -> Document:
    """Counts over the library and the command line of a source tree."""
    sources = read_sources(tree)
    modules = {name_of(path): path for path in sources}
    lines = {path: text.count("\n") for path, text in sources.items()}
    docstrings = comments = anys = dicts = lambdas = 0
    functions, edges = [], {}
    for path, text in sources.items():
        parsed = ast.parse(text)
        docstrings += docstring_lines(parsed)
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
        comments += len({token.start[0] for token in tokens if token.type == tokenize.COMMENT})
        code = [line for line in text.splitlines() if not line.lstrip().startswith(("#", "import", "from"))]
        dicts += sum("dict[str, Any]" in line for line in code)
        anys += sum(isinstance(node, ast.Name) and node.id == "Any" for node in ast.walk(parsed))
        for node in ast.walk(parsed):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                functions.append(((node.end_lineno or 0) - node.lineno + 1, f"{path}:{node.name}"))
            lambdas += isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda)
        edges[name_of(path)] = imported(path, parsed, modules)
    total = sum(lines.values())
    return {
        "modules": len(sources),
        "modules_of_the_library": sum(path.startswith("tirgn_eqx") for path in sources),
        "lines": total,
        "docstring_share": docstrings / total,
        "comment_share": comments / total,
        "any": anys,
        "lines_with_dict_str_any": dicts,
        "named_lambdas": lambdas,
        "circles_of_files": count_circles(edges),
        "files_over_300_lines": sum(count > 300 for count in lines.values()),
        "longest_files": sorted(((count, path) for path, count in lines.items()), reverse=True)[:5],
        "longest_functions": sorted(functions, reverse=True)[:3],
    }


# --- numbers and speed -----------------------------------------------------------------------------------------


def train(tree: Path, words: list[str], settings: Mapping[str, object], folder: Path) -> Document:
    """`tirgn train` of a tree in a process of its own: its logged records and its checkpoints' arrays as digests."""
    import numpy as np

    options = [f"--set={name}={value}" for name, value in settings.items()]
    places = ["--model-dir", str(folder / "models"), "--logdir", str(folder / "log"), "--json"]
    command = [sys.executable, "-m", "tirgn_cli", "train", *words, *options, *places]
    paths = f"{tree}:{tree / 'cli'}"
    run = subprocess.run(
        command, env=common.child_environment(PYTHONPATH=paths), cwd=folder, capture_output=True, text=True
    )
    if run.returncode:
        sys.exit(f"{tree}: {run.stderr.strip()[-2000:]}")
    logs = sorted(folder.rglob("metrics.jsonl"))
    records = [json.loads(line) for log in logs for line in log.read_text(encoding="utf-8").splitlines()]
    arrays = []
    for path in sorted((folder / "models").rglob("*.npz")):
        if "state" in path.name:
            continue
        with np.load(path) as archive:
            arrays += [archive[name] for name in archive.files if archive[name].dtype.kind == "f"]
    digests = sorted(hashlib.sha256(repr(a.shape).encode() + a.tobytes()).hexdigest() for a in arrays)
    return {"records": records, "arrays": digests, "result": json.loads(run.stdout)}


def logged(records: list[Document]) -> list[Document]:
    """Records without times and speeds."""
    timed = ("time", "duration", "per_s", "memory", "bytes", "total_params")
    return [{key: record[key] for key in record if not any(word in key for word in timed)} for record in records]


def compare_bits(before: Path, after: Path, words: list[str], work: Path) -> Document:
    found = []
    for side, tree in (("before", before), ("after", after)):
        (folder := work / side).mkdir(parents=True)
        found.append(train(tree, ["--data-path", WORLD, *words], TINY, folder))
    one, two = found
    steps = max(record.get("step", 0) for record in one["records"])
    figures = sum(len(record) for record in logged(one["records"]))
    equal = [a for a, b in zip(one["arrays"], two["arrays"], strict=False) if a == b]
    return {
        "dataset": two["result"]["dataset"],
        "steps": steps,
        "figures": figures,
        "figures_equal": logged(one["records"]) == logged(two["records"]),
        "arrays": len(one["arrays"]),
        "arrays_equal": len(equal) == len(one["arrays"]) == len(two["arrays"]),
    }


def epoch_times(records: list[Document]) -> tuple[list[float], list[float]]:
    """Seconds of epochs, and from an epoch's record to its validation's, both without the first, which compiles."""
    # An epoch's record is followed by that of its validation, since every epoch is validated.
    epochs = [record for record in records if "system/epoch_duration_s" in record]
    validations = [record for record in records if "eval/mrr" in record]
    pairs = zip(epochs[1:], validations[1:], strict=True)
    waits = [validation["time"] - epoch["time"] for epoch, validation in pairs]
    return [record["system/epoch_duration_s"] for record in epochs[1:]], waits


def compare_speed(before: Path, after: Path, words: list[str], work: Path, rounds: int) -> Document:
    epochs, validations = {"before": [], "after": []}, {"before": [], "after": []}
    for number in range(rounds):
        # The sides begin in turn, so that a machine that becomes slower or faster does so for both.
        order = [("before", before), ("after", after)][:: 1 if number % 2 == 0 else -1]
        for side, tree in order:
            (folder := work / f"{side}-{number}").mkdir(parents=True)
            found = epoch_times(train(tree, ["--data-path", LARGE_WORLD, *words], LARGE, folder)["records"])
            epochs[side] += found[0]
            validations[side] += found[1]
    return {
        "epoch_ratio": min(epochs["after"]) / min(epochs["before"]),
        "validation_ratio": min(validations["after"]) / min(validations["before"]),
        "epoch_seconds": {side: spread(times) for side, times in epochs.items()},
        "validation_seconds": {side: spread(times) for side, times in validations.items()},
    }


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--before", required=True, metavar="COMMIT", help="what this tree is compared with")
    parser.add_argument("--parts", default="census,bits,speed", help="what is done (census,bits,speed)")
    parser.add_argument("--families", default=",".join(FAMILIES), help=f"which are trained ({','.join(FAMILIES)})")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="trainings of each side for speed (3)")
    args = common.finalize(parser.parse_args())
    parts = args.parts.split(",")
    result: Document = {"before": args.before}
    with tempfile.TemporaryDirectory() as temporary:
        earlier = Path(temporary) / "earlier"
        packed = subprocess.run(["git", "archive", args.before], cwd=ROOT, capture_output=True, check=True).stdout
        tarfile.open(fileobj=io.BytesIO(packed)).extractall(earlier, filter="data")
        if "census" in parts:
            counted = {"before": take_census(earlier), "after": take_census(ROOT)}
            result["census"] = counted
            rows = [(key, counted["before"][key], counted["after"][key]) for key in counted["before"]]
            table("census", ["what", "before", "after"], [row for row in rows if not isinstance(row[1], list)])
        for part, compare in (("bits", compare_bits), ("speed", compare_speed)):
            if part not in parts:
                continue
            result[part] = {}
            for name in args.families.split(","):
                words = FAMILIES[name]
                more = (args.rounds,) if part == "speed" else ()
                work = Path(temporary) / part / name.replace(" ", "-")
                result[part][name] = compare(earlier, ROOT, words, work, *more)
                note(f"{part}, {name}: {json.dumps(result[part][name])}")
    worlds, settings = {"bits": WORLD, "speed": LARGE_WORLD}, {"bits": TINY, "speed": LARGE}
    trained = [part for part in worlds if part in parts]
    # The worlds are made from their names and seed 0 alone; a census trains nothing.
    dataset = {"name": "; ".join(worlds[part] for part in trained)}
    payload = {"dataset": dataset, "setting": {part: settings[part] for part in trained}, "seed": 0, "result": result}
    common.finish(common.record(common.join_name("before-after", args.tag), payload, args.results))


if __name__ == "__main__":
    main()
