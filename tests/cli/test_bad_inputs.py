"""Bad inputs over all commands: one line each, with what to do; and the page that lists them is what they say."""

from pathlib import Path

import pytest

from tests.cli.bad_input_cases import CASES
from tests.cli.bad_input_files import write_sound_files
from tests.cli.bad_inputs import generic_message, make_page, run_case

ERRORS = Path(__file__).parents[2] / "docs" / "errors.md"
ALL = [(group, number) for group, cases in CASES.items() for number in range(len(cases))]
MESSAGES: dict[tuple[str, int], str] = {}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    place = tmp_path_factory.mktemp("bad")
    write_sound_files(place)
    return place


@pytest.mark.parametrize(("group", "number"), ALL)
def test_a_bad_input_is_one_line(base, tmp_path, group, number):
    case = CASES[group][number]
    result = run_case(case, base, tmp_path / "place")
    assert result.exit_code == case.code, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1, result.stderr
    message = result.stderr.removesuffix("\n")
    assert message.isprintable() and "Traceback" not in message and "--debug" not in message
    MESSAGES[group, number] = generic_message(case, result.stderr, tmp_path / "place")


def test_the_page_of_errors_is_up_to_date():
    if len(MESSAGES) < len(ALL):
        pytest.skip("not all inputs were read in this process")
    told = {group: [MESSAGES[group, n] for n in range(len(cases))] for group, cases in CASES.items()}
    assert ERRORS.read_text(encoding="utf-8") == make_page(told), "run: python -m tests.cli.bad_inputs docs/errors.md"


def test_there_are_enough_of_them():
    assert len(ALL) >= 60
    commands = {" ".join(case.command.split()[1:2]) for cases in CASES.values() for case in cases}
    assert commands >= {
        "train",
        "eval",
        "predict",
        "compare",
        "retrain",
        "tune",
        "baseline",
        "vram-probe",
        "import-torch",
        "data",
    }
