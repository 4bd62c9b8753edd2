"""Options become settings, sizes and shapes."""

import pytest

from tirgn_cli import values
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.forecast.events import MAX_HORIZON


def test_given_options_and_the_preset_of_the_simulated_world():
    assert values.given(a=None, b=0, c=False) == {"b": 0, "c": False}
    assert [values.default_preset(path) for path in ("sim", "sim:seed=3", "data/sim")] == ["sim", "sim", None]


def test_settings_are_those_that_were_given_whatever_option_has_them():
    params = {"model": "regcn", "epochs": None, "seed": 3, "save_every": "10min", "data_path": "x", "num_days": 5}
    found = values.given_settings(params | {"assignments": ["angle=5"], "recipe": "fast"})
    assert found.options == {"family": "regcn", "seed": 3, "save_minutes": 10.0}
    assert (found.preset, found.recipe, found.file, list(found.assignments)) == (None, "fast", None, ["angle=5"])
    apart = values.given_settings({"seed": 3, "save_every": "20"}, apart_from=("seed",))
    assert apart.options == {"save_every": 20}


@pytest.mark.parametrize("text", ["", "min", "1.5", "10 hours", "-1"])
def test_what_is_no_interval_to_save_after(text):
    with pytest.raises(ConfigError, match="--save-every"):
        values.save_every(text)


def test_horizons_are_those_that_rates_are_trained_for():
    assert values.parse_horizons("7, 1,7") == (1, 7) and values.MAX_HORIZON == MAX_HORIZON
    for text in ("0", "31", "7,", "1.5", "week", "10000"):
        with pytest.raises(ConfigError, match=f"--horizon '{text}': must be steps from 1 to 30"):
            values.parse_horizons(text)


def test_a_split_and_a_setting():
    assert [values.check_split(name) for name in ("valid", "test")] == ["valid", "test"]
    with pytest.raises(ConfigError, match="--split 'train': must be one of valid, test"):
        values.check_split("train")
    settings = [values.evaluation_setting(*switches) for switches in ((False, False), (True, False), (True, True))]
    assert settings == ["single-step", "multi-step", "multi-step, fed back"]
    with pytest.raises(ConfigError, match="--feed-back: only with --multi-step"):
        values.evaluation_setting(False, True)


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
