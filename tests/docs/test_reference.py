"""Every public name stands in the reference that is made from docstrings."""

import importlib
import inspect
import re

import pytest

import tirgn_eqx
from tests.docs.doc_blocks import ROOT

ROOMS = ("data", "nn", "models", "train", "evaluate", "forecast")
DIRECTIVE = re.compile(r"^\.\. auto(?:class|function|data):: (tirgn_eqx[\w.]*)\.(\w+)$", re.MULTILINE)


def public(room: str) -> list[str]:
    """What the `__init__` of a room gives: the names that it takes in as themselves, and those that it defines."""
    module = importlib.import_module(f"tirgn_eqx.{room}")
    again = re.findall(r"import \w+ as (\w+)$", inspect.getsource(module), re.MULTILINE)
    own = [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__
    ]
    return [name for name in (*again, *own) if not name.startswith("_")]


PUBLIC = sorted({*tirgn_eqx.__all__, *(name for room in ROOMS for name in public(room))})


def shown() -> dict[str, str]:
    """Name -> module, of everything that the pages of the reference ask for."""
    text = "".join(page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs").glob("api-*.md")))
    return {name: module for module, name in DIRECTIVE.findall(text)}


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_in_the_reference(name):
    assert name in shown(), f"add it to a page docs/api-*.md: .. autofunction:: or autoclass:: tirgn_eqx....{name}"


def test_everything_in_the_reference_exists_and_is_described():
    for name, module in shown().items():
        value = getattr(importlib.import_module(module), name)
        assert not callable(value) or inspect.getdoc(value), f"{module}.{name} has no docstring"


def test_the_glossary_of_axes_is_that_of_the_code():
    types = importlib.import_module("tirgn_eqx.types")
    rows = [line for line in (types.__doc__ or "").splitlines() if line.startswith("|")]
    page = (ROOT / "docs" / "api-arrays.md").read_text(encoding="utf-8").splitlines()
    assert len(rows) > 10 and all(row in page for row in rows)
