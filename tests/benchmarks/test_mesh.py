"""What a step costs on several devices: predicted times, memory and bytes."""

import pytest

from benchmarks.mesh import predicted
from tests.benchmarks.script_helpers import run


def test_a_prediction_divides_what_was_measured_and_adds_the_link():
    points = [
        {"mesh": "entity=1", "product_seconds": 3.0, "update_seconds": 1.0, "sent_bytes": 0},
        {"mesh": "entity=2", "product_seconds": 2.0, "update_seconds": 0.5, "sent_bytes": 30},
    ]
    assert [row["step_seconds"] for row in predicted(points, None, 10.0)] == [4.0, 5.5]
    assert [row["step_seconds"] for row in predicted(points, 8.0, 10.0)] == [8.0, 8.0]


@pytest.mark.slow
def test_memory_of_a_device_falls_with_their_number_and_bytes_are_counted():
    result = run("mesh", "--quick", "--measure", "2")["result"]
    found, predicted = result["points"], result["prediction"]
    assert result["prediction_from"]["measured"]["steps"] == 2 and predicted[0]["link_seconds"] == 0
    assert 0 < predicted[1]["work_seconds"] < predicted[0]["step_seconds"]
    assert [point["devices"] for point in found] == [1, 2] and found[0]["sent_bytes"] == 0 < found[1]["sent_bytes"]
    assert found[1]["memory"]["peak"] < 0.75 * found[0]["memory"]["peak"]
