"""The metadata that a wheel is built from, and what must never be in the tree."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = {"tirgn_eqx": ROOT / "tirgn_eqx", "tirgn_cli": ROOT / "cli" / "tirgn_cli"}


def requirement_names(requirements):
    return {re.match(r"[\w.-]+", text)[0].lower() for text in requirements}


def imported(folder):
    """Top-level names that the Python files of `folder` import, with a file that does."""
    names = {}
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            else:
                continue
            names.update((module.partition(".")[0], path) for module in modules)
    return names


def tracked_files():
    """Every file that belongs to the project, by git where there is a clone."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git clone")
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_both_packages_go_into_the_wheel():
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {ROOT / package for package in packages} == set(PACKAGES.values())
    for folder in PACKAGES.values():
        for path in folder.rglob("*.py"):
            assert (path.parent / "__init__.py").exists(), f"{path.parent} has no __init__.py"


def test_files_that_are_not_python_go_into_wheel_and_sdist():
    """Templates and styles of the report, and the marker of typed packages, as the build backend lists the files."""
    wheel = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed: tirgn-eqx[test]")
    sdist = importlib.import_module("hatchling.builders.sdist")
    needed = {path for path in (ROOT / "tirgn_eqx" / "report" / "templates").iterdir() if path.suffix != ".pyc"}
    assert {path.suffix for path in needed} == {".html", ".css", ".js"}
    needed |= {ROOT / "tirgn_eqx" / "py.typed"}
    for builder in (wheel.WheelBuilder(str(ROOT)), sdist.SdistBuilder(str(ROOT))):
        packed = {ROOT / file.relative_path for file in builder.recurse_included_files()}
        assert needed <= packed


def test_script_entry():
    assert PROJECT["project"]["scripts"] == {"tirgn": "tirgn_cli.app:main"}
    assert callable(importlib.import_module("tirgn_cli.app").main)


def test_files_that_the_metadata_names_exist():
    named = [PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]]
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    for name in {*named, *included}:
        assert (ROOT / name).exists(), name
    assert set(named) <= set(included)


def test_every_import_is_declared():
    extras = PROJECT["project"]["optional-dependencies"]
    always = requirement_names(PROJECT["project"]["dependencies"])
    optional = requirement_names([*extras["wandb"], *extras["torch"], *extras["tune"], *extras["safetensors"]])
    for folder in PACKAGES.values():
        for name, path in imported(folder).items():
            known = name in sys.stdlib_module_names or name in PACKAGES
            assert known or name.lower() in always | optional, f"{path} imports {name}"
    used = {name.lower() for folder in PACKAGES.values() for name in imported(folder)}
    assert always <= used | {"beartype", "filelock"}


def test_no_file_names_a_path_of_one_machine():
    places = [str(ROOT), str(Path.home()), str(ROOT.parent)]
    needles = [f"{place}/" for place in places if place != "/"]
    needles += ["/" + name + "/" for name in ("home", "root", "Users", "mnt")]
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for needle in needles:
            found = re.search(rf"(?<![\w.~}}/]){re.escape(needle)}", text)
            assert not found, f"{path.relative_to(ROOT)} names {needle}"


def test_ci_script_is_sound():
    script = ROOT / ".ci" / "run"
    text = script.read_text()
    assert "set -euo pipefail" in text and "://" not in text
    assert text.rstrip().endswith("python -m pytest")
    subprocess.run(["bash", "-n", str(script)], check=True)
