"""Bad inputs over all commands: one line each, with what to do; and the page that lists them is what they say."""

from pathlib import Path

import pytest

from tests.cli import bad_inputs

ERRORS = Path(__file__).parents[2] / "docs" / "errors.md"
ALL = [(group, number) for group, cases in bad_inputs.CASES.items() for number in range(len(cases))]
MESSAGES: dict[tuple[str, int], str] = {}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    place = tmp_path_factory.mktemp("bad")
    bad_inputs.world(place)
    return place


@pytest.mark.parametrize(("group", "number"), ALL)
def test_a_bad_input_is_one_line(base, tmp_path, group, number):
    case = bad_inputs.CASES[group][number]
    result = bad_inputs.run(case, base, tmp_path / "place")
    assert result.exit_code == case.code, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1, result.stderr
    message = result.stderr.removesuffix("\n")
    assert message.isprintable() and "Traceback" not in message and "--debug" not in message
    MESSAGES[group, number] = bad_inputs.neutral(case, result.stderr, tmp_path / "place")


def test_the_page_of_errors_is_up_to_date():
    if len(MESSAGES) < len(ALL):
        pytest.skip("not all inputs were read in this process")
    told = {group: [MESSAGES[group, n] for n in range(len(cases))] for group, cases in bad_inputs.CASES.items()}
    assert ERRORS.read_text(encoding="utf-8") == bad_inputs.document(told), (
        "run: python tests/cli/bad_inputs.py docs/errors.md"
    )


def test_there_are_enough_of_them():
    assert len(ALL) >= 60
    commands = {" ".join(case.command.split()[1:2]) for cases in bad_inputs.CASES.values() for case in cases}
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
