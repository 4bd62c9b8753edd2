"""The lists of mutants fit the source: a line that changes takes its mutant along."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.mutants import run as mutants

ROOT = Path(__file__).resolve().parents[2]

MUTANTS = mutants.read_mutants()


def test_every_mutant_can_be_applied():
    """If this fails, `old` in `tools/mutants/*.toml` is to follow the source, or the mutant to go."""
    assert [fault for mutant in MUTANTS if (fault := mutants.stale(mutant))] == []


def test_every_mutant_is_another_program_with_tests_of_its_own():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 60
    known, before = {}, {}
    for mutant in MUTANTS:
        text = (ROOT / mutant.file).read_text(encoding="utf-8")
        if mutant.file not in before:
            before[mutant.file] = ast.dump(ast.parse(text))
        changed = ast.dump(ast.parse(text.replace(mutant.old, mutant.new)))
        assert changed != before[mutant.file], mutant.name
        assert mutant.breaks and mutant.tests, mutant.name
        for name in mutant.tests:
            file, _, function = name.partition("::")
            known.setdefault(file, (ROOT / "tests" / file).read_text(encoding="utf-8"))
            assert not function or re.search(rf"^def {function}\(", known[file], re.MULTILINE), name


def test_what_is_not_sound_is_named(tmp_path):
    entry = {"name": "x", "file": "tirgn_eqx/errors.py", "old": "no such text", "new": "", "breaks": "it", "tests": []}
    assert mutants.stale(mutants.Mutant(**entry)) == "x: its old text is 0 times in tirgn_eqx/errors.py, not once"
    assert "0 times in nowhere.py" in mutants.stale(mutants.Mutant(**entry | {"file": "nowhere.py"}))
    (tmp_path / "a.toml").write_text("[[mutant]]\nname = 'x'\nolder = 'y'\n")
    with pytest.raises(ValueError, match="a.toml: mutant 1: .*older"):
        mutants.read_mutants(tmp_path)


@pytest.mark.ci
def test_a_mutant_is_killed_and_leaves_the_source_as_it_was(tmp_path):
    (mutant,) = (one for one in MUTANTS if one.name in mutants.QUICK)
    before = (ROOT / mutant.file).read_bytes()
    words = [sys.executable, "-m", "tools.mutants", "--quick", "--results", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"NO_COLOR": "1"}, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    document = json.loads(done.stdout.splitlines()[-1])
    assert json.loads((tmp_path / "mutants.json").read_text()) == document
    (found,) = document["result"]["each"]
    assert (found["status"], found["stage"]) == ("killed", "nearest") and found["by"].startswith("evaluate/test_ranks")
    assert (ROOT / mutant.file).read_bytes() == before
