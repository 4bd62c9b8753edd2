"""Options become settings, sizes and shapes."""

import pytest

from tirgn_cli import values
from tirgn_eqx.errors import ConfigError


def test_given_options_and_the_preset_of_the_simulated_world():
    assert values.given(a=None, b=0, c=False) == {"b": 0, "c": False}
    assert [values.default_preset(path) for path in ("sim", "sim:seed=3", "data/sim")] == ["sim", "sim", None]


def test_the_default_data_is_the_event_file_if_there_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert values.default_data_path() == "sim"
    values.EVENTS_FILE.parent.mkdir(parents=True)
    values.EVENTS_FILE.touch()
    assert values.default_data_path() == "data/gdelt/processed/events.parquet"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("12GiB", 12 * 2**30),
        ("8G", 8 * 2**30),
        ("8g", 8 * 2**30),
        ("1.5 GiB", 3 * 2**29),
        ("500MB", 500 * 10**6),
        ("64KiB", 2**16),
        ("2TB", 2 * 10**12),
        ("4096", 4096),
        ("4096B", 4096),
    ],
)
def test_sizes(text, size):
    assert values.parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "-1GiB", "12Q", "1,5GiB", "0", "12 GiB extra", "0.1"])
def test_what_is_no_size(text):
    with pytest.raises(ConfigError, match="--budget"):
        values.parse_bytes(text)


def test_shapes():
    shape = values.parse_shape("entities=7, relations=2,edges=40,queries=80,static_edges=0")
    assert shape == {"entities": 7, "relations": 2, "edges": 40, "queries": 80, "static_edges": 0}
