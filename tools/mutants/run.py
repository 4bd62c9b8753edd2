"""Small faults put into the source on purpose, one at a time: does a test notice each of them?

Why: a test that passes says little until it is known to fail. Each mutant is one exact replacement of text in one
file, of a kind that people really make: a bound that is off by one, a filter dropped in one direction, a sign, a
weight that is forgotten. The lists are `mutants/*.toml`, and an entry holds `name`, `file`, `old` (found there exactly
once), `new`, `breaks` (what it does wrong), `tests` (the nearest ones, below `tests/`), and `equivalent`, the reason,
where no test can tell it apart.

A mutant is applied to a temporary copy of the source tree. Its nearest tests are run, then those of them that are
marked `ci`, then those of their folders with the golden, leak and variant tests, until one fails. It is *killed* when
a test fails, or does not end; *survived* when all pass; *invalid* when its module cannot be imported or its tests
cannot be collected. Tests with real data find none beside the copy and skip themselves. In the end all tests that
failed are run once without a mutant, where they must pass.

    python -m tools.mutants
    python -m tools.mutants --only "^ranks:"
    python -m tools.mutants --rest benchmarks/results/mutants.json
"""

import importlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple, TypedDict

from benchmarks import common
from benchmarks.common import ROOT, note, table

LISTS = Path(__file__).resolve().parent
COPIED = ("tirgn_eqx", "cli", "tests", "benchmarks", "tools", "docs", "examples", "README.md", "pyproject.toml")
FURTHER = ("test_golden.py", "test_leak.py", "test_variants.py")
DEFAULT, CI = "not slow and not ci", "ci and not slow"  # marks of pytest
LIMIT = 900  # seconds after which tests count as hanging
QUICK = ("ranks: an equal score counts as better",)
PASSED, FAILED, NOTHING, INVALID = 0, 1, 5, 77  # exit codes of pytest, and our own
# Imported once, before the processes of the tests are forked: half of the time of a small test file.
HEAVY = ("equinox", "hypothesis", "jax", "numpy", "optax", "polars", "pytest", "rich", "typer", "tensorboardX")


Status = Literal["killed", "survived", "equivalent", "invalid"]


class Mutant(NamedTuple):
    """One fault: `old` in `file` becomes `new`; `tests` are paths or names below `tests/`."""

    name: str
    file: str
    old: str
    new: str
    breaks: str
    tests: list[str]
    equivalent: str = ""


class Tried(TypedDict):
    """What became of a mutant, `by` which test, in which stage and in how many seconds."""

    name: str
    file: str
    breaks: str
    status: Status
    stage: str | None
    by: str | None
    seconds: float


def read_mutants(folder: Path = LISTS) -> list[Mutant]:
    """All mutants of the lists in `folder`, in their order; a list that is not sound is a ValueError."""
    found = []
    for path in sorted(folder.glob("*.toml")):
        for number, entry in enumerate(tomllib.loads(path.read_text(encoding="utf-8"))["mutant"], start=1):
            try:
                found.append(Mutant(**entry))
            except TypeError as error:
                raise ValueError(f"{path.name}: mutant {number}: {error}") from error
    return found


def stale(mutant: Mutant, root: Path = ROOT) -> str:
    """Why a mutant cannot be applied to the source below `root`; empty where it can."""
    path = root / mutant.file
    count = path.read_text(encoding="utf-8").count(mutant.old) if path.is_file() else 0
    return "" if count == 1 else f"{mutant.name}: its old text is {count} times in {mutant.file}, not once"


# --- one mutant ----------------------------------------------------------------------------------------------------


class Tree:
    """A copy of the source tree in `place`, that mutants are applied to one after the other."""

    def __init__(self, place: Path):
        self.place = place / "tree"
        unwanted = shutil.ignore_patterns("__pycache__", "results", ".hypothesis", "node_modules")
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, self.place / name, ignore=unwanted)
            else:
                shutil.copy(ROOT / name, self.place / name)

    def write(self, file: str, text: str) -> None:
        """Put `text` into `file`, and forget what was compiled of it: two versions of one size and second would be
        taken for each other."""
        path = self.place / file
        path.write_text(text, encoding="utf-8")
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            compiled.unlink()

    def test(self, tests: Iterable[str], marks: str, file: str = "") -> tuple[int, str]:
        """(exit code of pytest, first failure) of tests below `tests/` that have `marks`.

        **Arguments:** `file`: a module that must be importable afterwards, else the code is `INVALID`.
        """
        options = ["-n", "0", "-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0", "-m", marks]
        # What the pytest plugins bring is here already, where nothing can be rewritten any more.
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning", *(f"tests/{name}" for name in tests)]
        said = self.place.parent / "said.txt"
        with warnings.catch_warnings(action="ignore"):  # of JAX, whose threads have not begun yet
            child = os.fork()
        if child == 0:
            try:
                code = self._in_child(options, said, file)
            except BaseException:
                traceback.print_exc()
                code = INVALID
            sys.stdout.flush()
            os._exit(code)
        until = time.monotonic() + LIMIT
        try:
            while (status := os.waitpid(child, os.WNOHANG))[0] == 0:
                if time.monotonic() > until:
                    raise TimeoutError
                time.sleep(0.1)
        except BaseException as error:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            if isinstance(error, TimeoutError):
                return FAILED, f"no end within {LIMIT} s"
            raise
        text = said.read_text(encoding="utf-8", errors="replace")
        found = re.search(r"^(?:FAILED|ERROR) tests/(\S+::.*?|\S+)(?: - .*)?$", text, re.MULTILINE)
        return os.waitstatus_to_exitcode(status[1]), found[1] if found else text.strip()[-300:]

    def _in_child(self, options: list[str], said: Path, file: str) -> int:
        """pytest's exit code in a process of its own, that sees the copy alone."""
        import hypothesis
        import pytest

        # A group of its own, so that tests that hang are killed with all that they started.
        os.setsid()
        # A failing example is enough; the smallest one may take minutes to find.
        phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
        hypothesis.settings.register_profile("mutants", phases=phases, database=None)
        hypothesis.settings.load_profile("mutants")
        os.chdir(self.place)
        output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        own = [str(self.place), str(self.place / "cli")]
        sys.path[:] = own + [path for path in sys.path if not Path(path).resolve().is_relative_to(ROOT)]
        os.environ |= {"PYTHONPATH": os.pathsep.join(own), "NO_COLOR": "1"}
        code = int(pytest.main(options))
        if file:
            module = importlib.import_module(".".join(Path(file).with_suffix("").parts).removeprefix("cli."))
            assert Path(module.__file__ or "") == self.place / file, f"{module.__file__} was imported"
        return code


def stages(mutant: Mutant) -> Iterable[tuple[str, list[str], str]]:
    """(name, tests, marks) of what is run, until something fails."""
    nearest = mutant.tests
    files = sorted({name.partition("::")[0] for name in nearest})
    yield "nearest", nearest, DEFAULT
    if any("mark.ci" in (ROOT / "tests" / name).read_text(encoding="utf-8") for name in files):
        yield "nearest, marked ci", nearest, CI
    yield "wider", [*sorted({name.split("/")[0] for name in files if "/" in name}), *FURTHER], DEFAULT


def tried(tree: Tree, mutant: Mutant, wider: bool) -> Tried:
    """What became of a mutant: `status`, and the stage and test `by` which it was killed."""
    begin = time.monotonic()
    original = (tree.place / mutant.file).read_text(encoding="utf-8")
    status: Status = "survived"
    killer = by = None
    tree.write(mutant.file, original.replace(mutant.old, mutant.new))
    try:
        for stage, tests, marks in stages(mutant):
            if stage == "wider" and (not wider or mutant.equivalent):
                break
            code, said = tree.test(tests, marks, mutant.file)
            if code not in (PASSED, NOTHING):
                status, killer, by = "killed" if code == FAILED else "invalid", stage, said
                break
    finally:
        tree.write(mutant.file, original)
    if mutant.equivalent and status == "survived":
        status, by = "equivalent", mutant.equivalent
    seconds = time.monotonic() - begin
    return Tried(
        name=mutant.name, file=mutant.file, breaks=mutant.breaks, status=status, stage=killer, by=by, seconds=seconds
    )


# --- all of them ---------------------------------------------------------------------------------------------------


def killed_before(records: Iterable[Path]) -> dict[str, Tried]:
    """What earlier results say of the mutants that were killed, by name."""
    documents = [json.loads(record.read_text(encoding="utf-8")) for record in records]
    every = [found for document in documents for found in document["result"]["each"]]
    return {found["name"]: found for found in every if found["status"] == "killed"}


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument(
        "--only", metavar="PATTERN", help="mutants in whose name or file this regular expression is found"
    )
    rest = {"type": Path, "action": "append", "default": [], "metavar": "RECORD"}
    parser.add_argument("--rest", help="try only what this result has not as killed; repeatable", **rest)
    parser.add_argument("--no-wider", action="store_true", help="the nearest tests alone: more may seem to survive")
    args = common.finalize(parser.parse_args())
    mutants = read_mutants()
    faults = [fault for mutant in mutants if (fault := stale(mutant))]
    if faults:
        sys.exit("\n".join([f"{len(faults)} mutants are stale:", *faults]))
    chosen = [m for m in mutants if m.name in QUICK] if args.quick else mutants
    chosen = [m for m in chosen if not args.only or re.search(args.only, f"{m.name} {m.file}")]
    earlier = killed_before(args.rest)
    each: list[Tried] = []
    complete, unsound = True, ""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for name in HEAVY:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as temporary:
        tree = Tree(Path(temporary))
        try:
            for number, mutant in enumerate(chosen, start=1):
                found = earlier.get(mutant.name)
                if found is not None and found["breaks"] == mutant.breaks:
                    each.append(found)
                    continue
                each.append(found := tried(tree, mutant, not args.no_wider))
                told = f": {found['by']}" if found["by"] else ""
                place = f"{number:3d} of {len(chosen)}, {found['seconds']:4.0f} s"
                note(f"{place}, {found['status']}: {mutant.name}{told[:150]}")
            killed = (found["by"] or "" for found in each if found["status"] == "killed")
            killers = sorted({name for name in killed if "::" in name})
            if killers:
                note(f"the {len(killers)} tests that failed, without a mutant")
                code, by = tree.test(killers, f"({DEFAULT}) or ({CI})")
                unsound = "" if code == PASSED else by
        except KeyboardInterrupt:
            complete = False
    counts = Counter(found["status"] for found in each)
    result = {
        "complete": complete,
        "mutants": len(each),
        **{status: counts[status] for status in ("killed", "survived", "equivalent", "invalid")},
        "stages": dict(Counter(found["stage"] for found in each if found["status"] == "killed")),
        "fails_without_a_mutant": unsound,
        "files": len({found["file"] for found in each}),
        "seconds": sum(found["seconds"] for found in each),
        "each": each,
    }
    dataset = {"name": "mutants of the source", "mutants": len(each)}
    setting = {"limit_seconds": LIMIT, "further": list(FURTHER), "only": args.only}
    payload = {"dataset": dataset, "setting": setting, "seed": 0, "result": result}
    document = common.record(common.join_name("mutants", args.tag), payload, args.results)
    table("mutants", ["status", "number"], [[name, counts[name]] for name in sorted(counts)])
    common.finish(document)
    if not complete:
        sys.exit(f"stopped after {len(each)} of {len(chosen)} mutants")
    if unsound:
        sys.exit(f"a test fails without any mutant: {unsound}")
    bad = [found["name"] for found in each if found["status"] in ("survived", "invalid")]
    if bad:
        sys.exit(f"{len(bad)} mutants survived or are invalid, the first: {bad[0]}")
