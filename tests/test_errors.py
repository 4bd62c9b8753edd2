"""Messages: one line, of a length that can be read, and steering no terminal."""

import warnings

from tirgn_eqx.errors import (
    LONGEST,
    CheckpointError,
    ConfigError,
    DataError,
    DataWarning,
    DivergedError,
    IncompleteError,
    TirgnError,
    nearest,
    one_line,
    printable,
    shown,
)


def test_messages_are_one_line_and_not_endless():
    for kind in (DataError, ConfigError, CheckpointError, DataWarning):
        message = str(kind(f"a\nb\x1b[31m\u202e{'x' * 10**6}; do this"))
        assert message.isprintable() and len(message) < 2 * LONGEST and message.endswith("; do this")
    assert one_line("a\tb") == "a\\tb"
    assert len(one_line("\u202e" * 10**6)) < LONGEST + 10
    assert shown("a" * 100).endswith("...") and len(shown("a" * 100)) == 60
    assert shown(10**5000) == "a int too large to show"


def test_warnings_of_data_are_one_line():
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        warnings.warn("a\nb", DataWarning, stacklevel=1)
    assert str(found[0].message) == "a\\nb"


def test_a_long_message_keeps_its_end():
    message = one_line(f"{'x' * 5000}; do this")
    assert len(message) <= LONGEST + len(" ... ") and " ... " in message and message.endswith("; do this")
    assert one_line("short") == "short" and printable("a\x07\u00fc\n") == "a\\x07\u00fc\\n"


def test_values_are_shown_as_far_as_they_can_be():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    assert shown(deep) == "a list too large to show"
    assert shown("a" * 10**7, 10) == "'aaaaaa..." and shown([1, "a"]) == "[1, 'a']"


def test_the_exit_code_tells_usage_from_data_and_from_work_done_in_part():
    assert [kind.exit_code for kind in (TirgnError, DataError, CheckpointError, DivergedError)] == [1] * 4
    assert (ConfigError.exit_code, IncompleteError.exit_code) == (2, 3)
    assert all(issubclass(kind, TirgnError) for kind in (DataError, CheckpointError, ConfigError, IncompleteError))


def test_a_close_name_is_proposed():
    assert nearest("num_day", ["num_days", "seed"]) == "; did you mean 'num_days'?"
    assert nearest("x", ["num_days", "seed"]) == nearest("n" * 300, ["n" * 299]) == nearest("x", []) == ""
