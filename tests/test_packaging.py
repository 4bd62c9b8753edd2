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
    trackers = [*extras["wandb"], *extras["mlflow"], *extras["trackio"]]
    optional = requirement_names([*trackers, *extras["torch"], *extras["tune"], *extras["safetensors"]])
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


# --- what a release says of itself ---------------------------------------------------------------------------------


def named_pythons():
    """The versions of Python among the classifiers, as (major, minor), in their order."""
    found = re.findall(r"Python :: (\d+)\.(\d+)$", "\n".join(PROJECT["project"]["classifiers"]), re.MULTILINE)
    return [(int(major), int(minor)) for major, minor in found]


def read_yaml(*place):
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed: tirgn-eqx[dev]")
    return yaml.safe_load(ROOT.joinpath(*place).read_text(encoding="utf-8"))


def test_the_pythons_that_are_named_begin_with_the_oldest_and_leave_none_out():
    oldest = re.fullmatch(r">=3\.(\d+)", PROJECT["project"]["requires-python"])
    versions = named_pythons()
    assert versions == [(3, int(oldest[1]) + step) for step in range(len(versions))] and versions


def test_every_place_has_the_same_version():
    version = PROJECT["project"]["version"]
    assert read_yaml("CITATION.cff")["version"] == version
    numbered = re.findall(r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    # Before its first release a project has no numbered section.
    assert version in numbered or (not numbered and version == "0.1.0")


def test_the_citation_has_what_the_format_requires_and_the_paper_of_the_model():
    citation = read_yaml("CITATION.cff")
    assert citation["cff-version"] == "1.2.0" and {"message", "title", "authors"} <= set(citation)
    assert all({"name"} <= set(author) or {"family-names"} <= set(author) for author in citation["authors"])
    assert citation["license"] == PROJECT["project"]["license"]
    assert set(citation["keywords"]) == {*PROJECT["project"]["keywords"]}
    (paper,) = citation["references"]
    assert {"type", "title", "authors"} <= set(paper)
    assert (paper["year"], paper["doi"]) == (2022, "10.24963/ijcai.2022/299")
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").partition("## Citation")[2].split())
    assert f"*{paper['title']}.*" in readme
    assert ", ".join(f"{one['given-names']} {one['family-names']}" for one in paper["authors"]) in readme


def test_a_tag_is_built_and_tried_before_it_is_published_without_any_token():
    workflow = read_yaml(".github", "workflows", "release.yml")
    # YAML 1.1 reads the key `on` as true.
    assert workflow[True] == {"push": {"tags": ["v*"]}} and workflow["permissions"] == {"contents": "read"}
    build, trial, tests, publish = (workflow["jobs"][name] for name in ("build", "try", "tests", "publish"))
    assert (trial["needs"], publish["needs"]) == ("build", ["try", "tests"])
    assert any(step.get("run") == ".ci/run" for step in tests["steps"])
    tried = [tuple(map(int, version.split("."))) for version in trial["strategy"]["matrix"]["python"]]
    assert tried == named_pythons()
    assert publish["environment"]["name"] == "pypi" and publish["permissions"] == {"id-token": "write"}
    assert publish["environment"]["url"].rstrip("/").endswith(f"/{PROJECT['project']['name']}")
    assert not any("permissions" in job for job in (build, trial, tests))
    (action,) = (step for step in publish["steps"] if "gh-action-pypi-publish" in step["uses"])
    assert "with" not in action and "secrets." not in (ROOT / ".github/workflows/release.yml").read_text()
    commands = "\n".join(step.get("run", "") for step in build["steps"])
    for command in ("python -m build", "twine check --strict", 'test "$GITHUB_REF_NAME"', "CHANGELOG.md"):
        assert command in commands


def test_the_script_for_every_python_says_which_were_there():
    script = ROOT / ".ci" / "pythons"
    for name in re.findall(r"tests/[\w/]+\.py", script.read_text()):
        assert (ROOT / name).is_file(), name
    # In a folder without the source tree, which would be imported in place of what was installed.
    assert re.findall(r"^.*-m pytest", script.read_text(), re.MULTILINE) == [
        '        (cd "$2/copy" && ../venv/bin/python -m pytest'
    ]
    done = subprocess.run([str(script), "9.9"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout.splitlines() == ["Python 9.9: not found here", "0 passed, 0 failed"]
