"""How two trainings are compared after kills, and how broken files are found."""

from tools.chaos.kill import BEGINNING, differences, timeless, unfinished, unreadable


def test_times_do_not_count_at_any_depth():
    document = {"created": "today", "a": [{"time": 1.0, "step": 2}], "b": {"seconds": 3, "mrr": 0.5}}
    assert timeless(document) == {"a": [{"step": 2}], "b": {"mrr": 0.5}} and BEGINNING in timeless({BEGINNING: 1})


def test_differences_name_what_is_missing_and_what_is_not_equal():
    expected = {"a": 1, "log": [1, 2, 3], "gone": 0, "same": [1]}
    found = {"a": 2, "log": [1, 2], "new": 0, "same": [1]}
    assert differences(expected, found) == [
        "gone: only in one of them",
        "new: only in one of them",
        "a: differs",
        "log: differs, 2 instead of 3",
    ]
    assert differences(expected, expected) == []


def test_files_that_are_not_whole_are_named(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "good.json").write_text("{}")
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "bad.npz").write_bytes(b"PK")
    # The last line of a log may be cut off until the training is resumed; no other may be.
    (tmp_path / "logs" / "cut.jsonl").write_text('{"step": 1}\n{"st')
    (tmp_path / "logs" / "broken.jsonl").write_text('{"st\n{"step": 1}\n')
    assert sorted(fault.partition(":")[0] for fault in unreadable(tmp_path)) == [
        "bad.json",
        "bad.npz",
        "logs/broken.jsonl",
    ]


def test_a_checkpoint_that_waits_for_its_side_file_is_unfinished(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    for name in ("done.npz", "done.json", "waits.npz", "x.npz.123.tmp"):
        (model / name).write_bytes(b"")
    assert unfinished(tmp_path) == {"model/waits.npz", "model/x.npz.123.tmp"}
