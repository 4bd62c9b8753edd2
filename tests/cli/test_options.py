"""Options become configs, bytes and shapes; the order of precedence."""

import dataclasses
from typing import get_args, get_type_hints

import pytest

from tirgn_cli import options
from tirgn_cli.train import save_config
from tirgn_eqx.config import PRESETS, TiRGNTrainingConfig, read_config
from tirgn_eqx.errors import ConfigError


def test_precedence_is_default_preset_file_set_flag(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("epochs = 7\nangle = 3\nhistory_len = 4\nnum_layers = 1\n")
    resolve = options.resolve_config
    assert resolve(None, None, None, {}) == TiRGNTrainingConfig()
    named = resolve("icews18", None, None, {})
    assert (named.history_len, named.angle, named.epochs) == (10, 10.0, PRESETS["icews18"]["epochs"])
    config = resolve("icews18", file, ["angle=2", "num_layers=3"], {"num_layers": 5})
    assert (config.epochs, config.history_len, config.angle, config.num_layers) == (7, 4, 2.0, 5)
    assert config.batch_size == PRESETS["icews18"]["batch_size"]


def test_a_recipe_is_over_the_preset_and_under_everything_given():
    fast = options.resolve_config("yago", None, None, {}, "fast")
    assert (fast.loss, fast.unique_questions) == ("shared", True) and fast.history_len == PRESETS["yago"]["history_len"]
    assert options.resolve_config("yago", None, ["loss=full"], {}, "fast").loss == "full"
    assert options.resolve_config("yago", None, None, {}, "exact") == options.resolve_config("yago", None, None, {})
    with pytest.raises(ConfigError, match="recipe 'fats' does not exist.*fast"):
        options.resolve_config(None, None, None, {}, "fats")


def test_overrides_are_only_what_was_given():
    assert options.overrides(None, None, ["angle=2"], {"num_layers": 1}) == {"angle": 2, "num_layers": 1}
    assert options.overrides("yago", None, None, {}) == PRESETS["yago"]
    assert options.given(a=None, b=0, c=False) == {"b": 0, "c": False}


def test_the_saved_config_is_read_back(tmp_path):
    config = TiRGNTrainingConfig().replace(angle=3.5, loss="sampled", static_graph=False, weight_decay=1e-5)
    file = save_config(config, tmp_path / "models" / "tkg")
    assert file.name == "config.toml"
    assert TiRGNTrainingConfig().replace(**read_config(file)) == config
    save_config(config.replace(epochs=3), file.parent)
    assert read_config(file)["epochs"] == 3
    assert {path.name for path in file.parent.iterdir()} == {"config.toml", ".train.lock"}


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
    """The shared options carry what the config says, so that neither can move without the other."""
    hints = get_type_hints(TiRGNTrainingConfig)
    by_name = {field.name: field for field in dataclasses.fields(TiRGNTrainingConfig)}
    shared = {
        "precision": options.Precision,
        "remat": options.Remat,
        "monitor": options.Monitor,
        "epochs": options.Epochs,
        "learning_rate": options.LearningRate,
    }
    for name, alias in shared.items():
        info = alias.__metadata__[0]
        assert by_name[name].metadata["help"] in info.help
        assert f"(default: {by_name[name].default})" in info.help
        if get_args(hints[name]):
            assert info.metavar == "|".join(get_args(hints[name]))
