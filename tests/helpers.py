"""What several test files need: the real datasets, where they are at hand."""

from pathlib import Path

import pytest

DATASETS = Path(__file__).resolve().parents[2] / "shared" / "datasets"


def dataset(name: str) -> Path:
    """The path of a real dataset; skips the test where it is not at hand."""
    path = DATASETS / name
    if not path.exists():
        pytest.skip(f"dataset {name} is not at hand in {DATASETS}")
    return path
