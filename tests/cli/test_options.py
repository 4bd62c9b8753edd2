"""Options that commands share, and the decorator that gives them to a command."""

import dataclasses
import inspect

from tirgn_cli import options
from tirgn_eqx.config import TiRGNTrainingConfig, settings_of
from tirgn_eqx.data.readers.events import READING_OPTIONS


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

    @options.command(num_days="all of them")
    def count(path: str, *, reading: options.ReadingFlags, as_json: options.Json = False) -> None:
        seen.append((path, reading.given(), as_json))

    parameters = inspect.signature(count).parameters
    assert list(parameters) == ["path", *options.READING, "as_json", *options.SWITCHES]
    assert parameters["num_days"].annotation.__metadata__[0].help == "all of them"
    assert options.NumDays.__metadata__[0].help != "all of them", "that of the other commands stays"
    assert parameters["columns"].annotation is options.Columns
    flags = dict.fromkeys(options.READING) | {"num_days": 3, "skip_bad_rows": False}
    count(path="a", **flags, as_json=True, **dict.fromkeys(options.SWITCHES, True))
    assert seen == [("a", {"num_days": 3, "skip_bad_rows": False}, True)]
    assert [field.name for field in dataclasses.fields(options.ReadingFlags)] == list(READING_OPTIONS)
