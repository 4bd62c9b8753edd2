"""Errors a person can act on.

Every message says what was wrong, where, the value, and what to do next, in one line: names and values in it may
come from anywhere, so control characters are spelt out and what is very long is cut. The command line shows
the message alone and leaves with `exit_code`: 1 for data or run errors, 2 for usage, 3 for work done in part. 4 is no
error of this module: `tirgn score` found that forecasts were worse than was asked for.
"""

import difflib
from collections.abc import Iterable

LONGEST = 2000  # letters of a message
_END = 400  # of a longer one, so many at its end are kept: they say what to do


def printable(text: str) -> str:
    """`text` with control characters spelt out, so that a name steers no terminal and breaks no line in two."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def one_line(text: str) -> str:
    """`text` as a message: printable, and cut in its middle when it is longer than `LONGEST`."""
    return _cut(printable(_cut(text)))  # what is spelt out is longer than it was


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - _END]} ... {text[-_END:]}"


def shown(value: object, most: int = 60) -> str:
    """`value` as it stands in a message: `repr`, cut after `most` letters."""
    try:
        text = repr(value[: most + 1]) if isinstance(value, str) else repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, lists in lists in lists
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= most else f"{text[: most - 3]}..."


class TirgnError(Exception):
    """Base of every error that this library raises on purpose. **Arguments:** `message`: made one line."""

    exit_code = 1

    def __init__(self, message: str = ""):
        super().__init__(one_line(message))


class DataError(TirgnError):
    """A data file or folder that cannot be read as facts."""


class CheckpointError(TirgnError):
    """A checkpoint that is missing, corrupt, or of another kind."""


class ConfigError(TirgnError):
    """A setting that does not exist or has an impossible value."""

    exit_code = 2


class DivergedError(TirgnError):
    """A training whose loss or gradient is no number any more."""


class IncompleteError(TirgnError):
    """Work that was done but for a part, which the same command tries again."""

    exit_code = 3


class DataWarning(UserWarning):
    """Data that was accepted although something deserves attention. **Arguments:** `message`: made one line."""

    def __init__(self, message: str = ""):
        super().__init__(one_line(message))


def nearest(name: str, known: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` for the known name closest to `name`, or an empty string."""
    if len(name) > 200:  # nothing that is meant is as long, and a comparison takes the product of the lengths
        return ""
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {match[0]!r}?" if match else ""
