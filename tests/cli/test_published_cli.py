"""`tirgn data list` and `tirgn data get`, as a person calls them."""

import json

import pytest

from tests.helpers import DATASETS


def test_the_list(run):
    told = run("data", "list")
    assert told.exit_code == 0 and "ICEWS05-15" in told.stdout and "74,845" in told.stdout
    assert all(len(line) <= 80 for line in told.stdout.splitlines() if not line.startswith("next"))
    found = json.loads(run("data", "list", "--json").stdout)
    (one,) = [one for one in found["datasets"] if one["name"] == "YAGO"]
    assert one["facts"] == {"train": 161540, "valid": 19523, "test": 20026} and found["source"].startswith("https://")


def test_a_set_from_a_folder(run, tmp_path):
    if not (DATASETS / "YAGO").is_dir():
        pytest.skip("the published data sets are not here")
    result = run("data", "get", "yago", "--from", DATASETS, "--out", tmp_path / "yago", "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["dataset"]["facts"] == 201_089 and set(told["files"].values()) == {"fetched"}
    again = run("data", "get", "yago", "--from", DATASETS, "--out", tmp_path / "yago")
    assert again.exit_code == 0 and f"tirgn train --data-path {tmp_path / 'yago'}" in again.stdout.replace("\n", "")
