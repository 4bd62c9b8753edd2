"""The changes that the page about extending shows: they apply to this tree, and what they add works."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.docs.doc_blocks import ROOT, blocks

PAGE = blocks(ROOT / "docs" / "extending.md")
CHANGES = [block for block in PAGE if block.language == "diff"]
CHECKS = [block for block in PAGE if block.language == "python"]


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """A copy of both packages, and of the generators of documentation, with every change of the page."""
    if shutil.which("git") is None:
        pytest.skip("git is not at hand to apply the changes")
    copy = tmp_path_factory.mktemp("copy")
    for package in ("tirgn_eqx", "cli/tirgn_cli", "tools/docs"):
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    for block in CHANGES:
        command = ["git", "apply", "-p1", "--whitespace=error-all", "-"]
        # Not the repository around it, if there is one: the copy alone is changed.
        env = os.environ | {"GIT_CEILING_DIRECTORIES": str(copy.parent)}
        done = subprocess.run(command, input=block.text, cwd=copy, env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"docs/extending.md:{block.line}: {done.stderr}"
    return copy


def in_copy(copy, *words):
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(copy), str(copy / "cli")]), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, *words], cwd=copy, env=env, capture_output=True, text=True, timeout=120)


def test_every_kind_of_addition_has_a_change_and_a_check():
    assert len(CHANGES) == len(CHECKS) == 4


def test_what_the_changes_add_works(changed):
    code = "\n".join(block.text for block in CHECKS)
    done = in_copy(changed, "-W", "error::UserWarning", "-c", code)
    assert done.returncode == 0, done.stderr


def test_the_changes_are_in_the_form_of_the_project(changed):
    if shutil.which("ruff") is None:
        pytest.skip("ruff is not at hand")
    shutil.copy(ROOT / "pyproject.toml", changed)
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(["ruff", *command, "tirgn_eqx", "cli"], cwd=changed, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
