"""Views of long work: a display that shares the terminal with messages, and ends with the work."""

import io

import pytest
from rich.console import Console
from rich.text import Text

from tirgn_cli import output
from tirgn_cli.view import View


class Counting(View[int]):
    """Shows how often it was called."""

    def __call__(self, record: int) -> None:
        self._line("", str(record), "steps")

    def _render(self) -> Text:
        return Text("counting")


def test_a_record_is_a_plain_line_unless_quiet():
    for quiet, shown in ((False, "3  steps\n"), (True, "")):
        console = Console(file=io.StringIO(), width=80)
        with Counting(console=console, quiet=quiet) as view:
            view(3)
        assert console.file.getvalue() == shown


def test_a_terminal_has_a_display_until_the_work_ends():
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    with Counting(console=console) as view:
        assert view._live is not None and output.stderr() is console
    assert view._live is None and output.stderr() is not console
    assert "counting" in console.file.getvalue()


def test_messages_pass_through_the_display():
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    with Counting(console=console) as view:
        view(1)
        output.print_warning("careful")
        assert "careful" in console.file.getvalue()
    assert output.stderr() is not console


def test_the_display_ends_when_training_fails():
    console = Console(file=io.StringIO(), force_terminal=True)
    with pytest.raises(KeyboardInterrupt), Counting(console=console) as view:
        view(1)
        raise KeyboardInterrupt
    assert console.file.getvalue().rstrip().endswith("\x1b[?25h") or "\x1b[?25h" in console.file.getvalue()
