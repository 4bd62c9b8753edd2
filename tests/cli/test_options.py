"""Options become bytes and shapes; settings are saved."""

import dataclasses
import inspect
from typing import Annotated

import pytest

from tirgn_cli import options
from tirgn_cli.train import save_config
from tirgn_eqx.config import TiRGNTrainingConfig, config_from_dict, read_config, settings_of
from tirgn_eqx.errors import ConfigError


def test_the_saved_config_is_read_back(tmp_path):
    config = TiRGNTrainingConfig().replace(angle=3.5, loss="sampled", static_graph=False, weight_decay=1e-5)
    file = save_config(config, tmp_path / "models" / "tkg")
    assert file.name == "config.toml"
    assert config_from_dict(read_config(file)) == config
    save_config(config.replace(epochs=3), file.parent)
    assert read_config(file)["epochs"] == 3
    assert {path.name for path in file.parent.iterdir()} == {"config.toml", ".train.lock"}


def test_given_options_and_the_preset_of_the_simulated_world():
    assert options.given(a=None, b=0, c=False) == {"b": 0, "c": False}
    assert [options.default_preset(path) for path in ("sim", "sim:seed=3", "data/sim")] == ["sim", "sim", None]


def test_the_default_data_is_the_event_file_if_there_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert options.default_data_path() == "sim"
    options.EVENTS_FILE.parent.mkdir(parents=True)
    options.EVENTS_FILE.touch()
    assert options.default_data_path() == "data/gdelt/processed/events.parquet"


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
    assert options.parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "-1GiB", "12Q", "1,5GiB", "0", "12 GiB extra", "0.1"])
def test_what_is_no_size(text):
    with pytest.raises(ConfigError, match="--budget"):
        options.parse_bytes(text)


def test_shapes():
    shape = options.parse_shape("entities=7, relations=2,edges=40,queries=80,static_edges=0")
    assert shape == {"entities": 7, "relations": 2, "edges": 40, "queries": 80, "static_edges": 0}


def test_choices_and_defaults_are_those_of_the_config():
    """The shared options say what the settings say, so that neither can change without the other."""
    shared = {
        "precision": options.Precision,
        "remat": options.Remat,
        "monitor": options.Monitor,
        "epochs": options.Epochs,
        "learning_rate": options.LearningRate,
    }
    for name, alias in shared.items():
        info, one = alias.__metadata__[0], settings_of(TiRGNTrainingConfig)[name]
        assert info.help == f"{one.help} (default: {one.default})"
        assert not one.choices or info.metavar == "|".join(one.choices)


def test_a_command_has_the_reading_options_and_switches():
    seen = []

    @options.command(num_days=Annotated[int | None, options.num_days("all of them")])
    def count(path: str, *, reading: options.ReadingFlags, as_json: options.Json = False) -> None:
        seen.append((path, reading.given(), as_json))

    parameters = inspect.signature(count).parameters
    assert list(parameters) == ["path", *options.READING, "as_json", *options.SWITCHES]
    assert parameters["num_days"].annotation.__metadata__[0].help == "all of them"
    assert parameters["columns"].annotation is options.Columns
    flags = dict.fromkeys(options.READING) | {"num_days": 3, "skip_bad_rows": False}
    count(path="a", **flags, as_json=True, **dict.fromkeys(options.SWITCHES, True))
    assert seen == [("a", {"num_days": 3, "skip_bad_rows": False}, True)]
    assert [field.name for field in dataclasses.fields(options.ReadingFlags)] == list(options.READING)
