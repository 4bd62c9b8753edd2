"""TensorBoard reads back what was logged."""

import math

import pytest

from tests.tracking.log_files import warnings_of
from tirgn_eqx.tracking.background_writer import LogEntry
from tirgn_eqx.tracking.logger import TrainingLogger
from tirgn_eqx.tracking.tensorboard_writer import TensorBoardWriter


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reads_it_back(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with TrainingLogger(tmp_path, config={"seed": 3}) as log:
        for step in (1, 2, 3):
            log.log_metrics({"train/loss": 1 / step, "eval/mrr": 0.25 * step}, step)
        log.log_metrics({"train/loss": math.nan}, 4)
        log.log_text("summary", "**done**", 4)
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"train/loss", "eval/mrr"}
    loss = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert loss[:3] == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))] and math.isnan(loss[3][1])
    texts = {tag: events.Tensors(tag)[0].tensor_proto.string_val[0] for tag in events.Tags()["tensors"]}
    assert texts["summary/text_summary"] == b"**done**"
    assert b'"seed": 3' in texts["config/text_summary"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_run_that_goes_on_gives_tensorboard_what_a_kill_had_lost(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with TrainingLogger(tmp_path) as log:
        for step in (1, 2, 3):
            log.log_metrics({"train/loss": 1 / step, "eval/mrr": math.nan}, step)
        log.log_text("note", "kept", 2)
    (events,) = tmp_path.glob("events.*")

    def points(board):
        return [(event.step, event.value, event.wall_time) for event in board.Scalars("train/loss")]

    whole = accumulator.EventAccumulator(str(tmp_path)).Reload()
    before = points(whole)
    content = events.read_bytes()
    events.write_bytes(content[: len(content) // 2])
    with TrainingLogger(tmp_path, resume_step=2) as log:
        log.log_metrics({"train/loss": 0.125}, 3)
    board = accumulator.EventAccumulator(str(tmp_path)).Reload()
    found = points(board)
    assert found[:2] == before[:2] and [row[:2] for row in found[2:]] == [(3, 0.125)]
    assert [event.step for event in board.Scalars("eval/mrr")] == [1, 2]
    assert [event.step for event in board.Tensors("note/text_summary")] == [2]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_null_is_nan_and_a_purge_hides_what_was_there(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for purge, value in ((False, 0.5), (True, None)):
        writer = TensorBoardWriter(tmp_path, purge=purge, timeout=10)
        # Later steps alone would leave the earlier points where they are.
        for step in (5, 6) if purge else (1, 2, 3):
            writer.send(LogEntry({"loss": value, "note": f"step {step}"}, step, 1e9 + step))
        writer.close(failed=False)
        assert writer.active
        # The names of the files differ by the second.
        (written,) = set(tmp_path.iterdir()) - {tmp_path / "events.out.tfevents.1.a"}
        written.rename(tmp_path / f"events.out.tfevents.{1 + purge}.a")
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    points = events.Scalars("loss")
    assert [(point.step, point.wall_time) for point in points] == [(5, 1e9 + 5), (6, 1e9 + 6)]
    assert all(math.isnan(point.value) for point in points)
    notes = events.Tensors("note/text_summary")[-2:]
    assert [note.tensor_proto.string_val[0] for note in notes] == [b"step 5", b"step 6"]


def test_a_folder_that_is_gone_costs_one_warning(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    writer = TensorBoardWriter(tmp_path / "file", purge=False, timeout=10)
    writer.close(failed=False)
    assert not writer.active
    (warning,) = warnings_of(caplog)
    assert warning.startswith("TensorBoard is off from here on, the training goes on: ")
    assert f"{tmp_path}/file: cannot be written (" in warning
