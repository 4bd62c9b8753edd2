"""Errors a person can act on.

Every message says what was wrong, where, the value, and what to do next, in one line. The command line shows
the message alone and leaves with `exit_code`: 1 for data or run errors, 2 for usage, 3 for work done in part.
"""

import difflib
from collections.abc import Iterable


class TirgnError(Exception):
    """Base of every error that this library raises on purpose."""

    exit_code = 1


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
    """Data that was accepted although something about it deserves attention."""


def nearest(name: str, known: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` for the known name closest to `name`, or an empty string."""
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {match[0]!r}?" if match else ""
