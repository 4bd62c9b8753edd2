"""Wall time of whole commands on the simulated world: with an empty compile cache, with a full one, and without it.

Why: who asks for one forecast waits for Python, its imports, the compiler and only then for the answer. A checkpoint is
trained first; each command then runs in a process of its own. Told apart: `first` (an empty cache), `later` (the cache
that `first` filled), `after_train` (the cache that the training filled), `off` (`TIRGN_CACHE=off`), and the floor below
which no command can go: `import jax` and `tirgn --help`.

    python -m benchmarks.commands
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import common
from benchmarks.common import Document, note, spread, table

COMMANDS = {
    "eval": ["eval", "CHECKPOINT"],
    "predict": ["predict", "CHECKPOINT", "--subject", "SUBJECT", "--relation", "RELATION"],
}


def wall(words: list[str], cache: Path | str, folder: Path) -> float:
    """Seconds of a process with this compile cache. **Raises:** SystemExit with its last words when it fails."""
    begin = time.perf_counter()
    environment = common.child_environment(TIRGN_CACHE=str(cache))
    run = subprocess.run([sys.executable, *words], env=environment, cwd=folder, capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"{' '.join(words)}: {run.stderr.strip()[-2000:]}")
    return time.perf_counter() - begin


def main() -> None:
    parser = common.parser(__doc__)
    args = common.finalize(parser.parse_args())
    from tirgn_cli.values import default_preset

    # As the command line does, so that the training is the one that `tirgn train` makes with nothing given.
    args.preset = args.preset or default_preset(args.data_path)
    graph, config = common.load_arguments(args)
    if graph.entity_names is None or graph.relation_names is None:
        sys.exit(f"{graph.name}: has no names to ask a question by")
    tirgn, rows = ["-m", "tirgn_cli"], []
    result: Document = {"complete": False}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as work:
        folder = Path(work)
        (folder / "config.toml").write_text(config.to_toml(), encoding="utf-8")
        train = [*tirgn, "train", "--config", str(folder / "config.toml"), *common.load_words(args)]
        data = Path(args.data_path)
        train += ["--data-path", str(data.resolve()) if data.exists() else args.data_path]
        train += ["--model-dir", str(folder / "models"), "--logdir", str(folder / "log"), "--quiet"]
        trained = folder / "cache-train"
        result["train"] = {"first": wall(train, trained, folder)}
        note(f"train: {result['train']['first']:.1f} s")
        named = {"CHECKPOINT": str(folder / "models" / "tirgn_best.npz")}
        named |= {"SUBJECT": graph.entity_names[0], "RELATION": graph.relation_names[0]}
        result["floor"] = {
            "import jax": spread([wall(["-c", "import jax"], "off", folder) for _ in range(args.repeats)]),
            "tirgn --help": spread([wall([*tirgn, "--help"], "off", folder) for _ in range(args.repeats)]),
        }
        for name, words in COMMANDS.items():
            command, cache = [*tirgn, *(named.get(word, word) for word in words)], folder / f"cache-{name}"
            found: Document = {"first": wall(command, cache, folder)}
            found["later"] = spread([wall(command, cache, folder) for _ in range(args.repeats)])
            found["after_train"] = wall(command, trained, folder)
            found["off"] = wall(command, "off", folder)
            result[name] = found
            rows.append([name, found["first"], found["later"]["median"], found["after_train"], found["off"]])
            note(f"{name}: {rows[-1][1:]}")
    result["complete"] = True
    name = common.result_name("commands", graph, args)
    document = common.record(name, common.described(graph, config) | {"result": result}, args.results)
    table(f"{graph.name}: seconds of a command", ["", "first", "later", "after train", "off"], rows)
    common.finish(document)


if __name__ == "__main__":
    main()
