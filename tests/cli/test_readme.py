"""The README's Python runs, and its commands are ones that exist."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.slow
def test_the_python_example_runs(program, tmp_path):
    (code,) = blocks("python")
    smaller = code.replace("num_days=60", "num_days=20").replace("epochs=5", "epochs=1")
    smaller = smaller.replace("embedding_dim=32", "embedding_dim=8, max_buckets=1")
    assert all(words in smaller for words in ("num_days=20", "epochs=1", "embedding_dim=8"))
    done = program("-c", smaller)
    assert done.returncode == 0, done.stderr
    assert "mrr" in done.stdout
    assert (tmp_path / "models/readme/tirgn_best.npz").exists()


def test_every_command_in_the_readme_is_one(run):
    lines = [line.split("#")[0] for block in blocks("sh") for line in block.splitlines()]
    commands = [part.strip() for line in lines for part in line.split("&&") if part.strip().startswith("tirgn ")]
    assert len(commands) >= 7
    for command in commands:
        words = command.split()[1:]
        name = words[:2] if words[0] in ("data", "baseline") else words[:1]
        shown = run(*name, "--help")
        assert shown.exit_code == 0, command
        for option in (word for word in words if word.startswith("--")):
            assert option in shown.stdout, f"{command}: {option}"


def test_the_test_command_is_the_one_that_ci_runs():
    assert "python -m pip install '.[test]' && python -m pytest" in README
    ci = (Path(__file__).parents[2] / ".ci/run").read_text()
    assert ci.rstrip().endswith("python -m pytest")
