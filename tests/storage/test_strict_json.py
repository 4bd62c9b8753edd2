"""Strict JSON: values of numpy, paths and dataclasses in the types of JSON, and no NaN."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tirgn_eqx.storage.strict_json import plain, to_json


@dataclass
class Inner:
    values: tuple[float, ...]
    path: Path


@dataclass
class Outer:
    inner: Inner


def test_every_value_gets_a_type_of_json():
    assert plain({1: np.int32(3), "a": np.arange(3), None: np.bool_(True)}) == {"1": 3, "a": [0, 1, 2], "None": True}
    assert plain(Outer(Inner((1.0, float("inf")), Path("a/b")))) == {"inner": {"values": [1.0, None], "path": "a/b"}}
    assert [type(plain(value)) for value in (np.float32(1), np.int8(1), np.bool_(False))] == [float, int, bool]


def test_what_is_no_finite_number_is_null():
    value = {"a": float("nan"), "b": np.array([1.5, -np.inf]), "c": np.float32("nan"), "d": 10**30}
    assert json.loads(to_json(value)) == {"a": None, "b": [1.5, None], "c": None, "d": 10**30}


def test_text_stays_as_it_is_and_lines_are_indented_on_demand():
    assert to_json({"ü": ["北京"]}) == '{"ü": ["北京"]}'
    assert to_json([1], indent=1) == "[\n 1\n]"


@pytest.mark.parametrize("value", [object(), {"a": {1, 2}}, [b"bytes"], Outer])
def test_a_value_of_another_type_is_refused(value):
    with pytest.raises(TypeError, match="cannot be written as JSON"):
        to_json(value)
