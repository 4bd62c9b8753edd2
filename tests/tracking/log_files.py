"""What a training logged, read back."""

import json
import logging

import pytest


def lines(path):
    def refuse(word):
        return pytest.fail(f"{word} is not strict JSON")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


def warnings_of(caplog):
    """The warnings of this package; tensorboardX has its own about every NaN."""
    ours = (record for record in caplog.records if record.name == "tirgn_eqx")
    return [record.getMessage() for record in ours if record.levelno >= logging.WARNING]
