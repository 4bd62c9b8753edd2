import hashlib
import json
import os
import string
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tirgn_eqx.checkpoint.files import load_checkpoint, replace_checkpoint, save_checkpoint
from tirgn_eqx.errors import CheckpointError, DataWarning
from tirgn_eqx.runtime import meshes

ARRAYS = {"entity": np.arange(12, dtype=np.float32).reshape(3, 4), "step": np.asarray(7)}
METADATA = {"model_type": "tirgn", "entities": ["Ünia", "Old 'Land'"], "metrics": {"mrr": 0.5}}

NAMES = st.text(string.ascii_letters + string.digits + "._/[] äß", min_size=1, max_size=12)
DTYPES = st.sampled_from(["<f4", "<f8", "<i4", "<i8", "|u1", "|b1"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def same(first, second):
    return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()


def fails(path):
    """The one-line message with which loading `path` fails."""
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


@given(
    arrays=st.dictionaries(NAMES, DTYPES.flatmap(lambda t: hnp.arrays(t, hnp.array_shapes(min_dims=0, min_side=0)))),
    metadata=st.dictionaries(st.text(), JSON, max_size=4),
)
@settings(max_examples=50, deadline=None)
def test_round_trip(arrays, metadata):
    with tempfile.TemporaryDirectory() as folder:
        path = save_checkpoint(Path(folder) / "model", arrays, metadata)
        loaded = load_checkpoint(path)
    assert loaded.metadata == metadata
    assert loaded.arrays.keys() == arrays.keys()
    assert all(same(loaded.arrays[name], np.asarray(array)) for name, array in arrays.items())


def test_files(tmp_path):
    path = save_checkpoint(tmp_path / "new" / "tirgn_epoch_1.5", ARRAYS, METADATA)
    assert path == tmp_path / "new" / "tirgn_epoch_1.5.npz"
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "tirgn_epoch_1.5.json",
        "tirgn_epoch_1.5.npz",
    ]
    side = json.loads(path.with_suffix(".json").read_text())
    assert {key: value for key, value in side.items() if key != "sha256"} == METADATA
    with np.load(path, allow_pickle=False) as archive:
        assert np.array_equal(archive["entity"], ARRAYS["entity"])
    for name in ("tirgn_epoch_1.5", "tirgn_epoch_1.5.npz", "tirgn_epoch_1.5.json"):
        assert load_checkpoint(tmp_path / "new" / name).metadata == METADATA


def test_equal_contents_give_equal_bytes(tmp_path):
    first, second = (save_checkpoint(tmp_path / name, ARRAYS, METADATA) for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_metadata_becomes_strict_json(tmp_path):
    metadata = {"nan": np.float32(np.nan), "path": Path("a"), "ids": (np.int64(1), 2), "list": np.arange(2)}
    path = save_checkpoint(tmp_path / "m", {}, metadata)
    assert load_checkpoint(path).metadata == {"nan": None, "path": "a", "ids": [1, 2], "list": [0, 1]}


def test_npz_alone_is_enough(tmp_path):
    path = save_checkpoint(tmp_path / "m", ARRAYS, METADATA)
    path.with_suffix(".json").unlink()
    assert load_checkpoint(path).metadata == METADATA


def test_sha256_that_differs(tmp_path):
    path = save_checkpoint(tmp_path / "m", ARRAYS, METADATA)
    other = save_checkpoint(tmp_path / "other", ARRAYS, METADATA | {"extra": 1})
    os.replace(other, path)
    message = fails(path)
    assert "sha256" in message and "m.json" in message


def test_side_file_without_sha256_is_warned_about(tmp_path):
    path = save_checkpoint(tmp_path / "m", ARRAYS, METADATA)
    for text in ("{", "[]", "{}", '"x"'):
        path.with_suffix(".json").write_text(text)
        with pytest.warns(DataWarning, match="not verified"):
            load_checkpoint(path)


def test_cut_short_anywhere(tmp_path):
    path = save_checkpoint(tmp_path / "m", ARRAYS, METADATA)
    path.with_suffix(".json").unlink()
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert "not a checkpoint" in fails(path) or "cut short" in fails(path)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_changed_byte_is_refused_or_harmless(data):
    with tempfile.TemporaryDirectory() as folder:
        path = save_checkpoint(Path(folder) / "m", ARRAYS, METADATA)
        path.with_suffix(".json").unlink()
        content = bytearray(path.read_bytes())
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        try:
            loaded = load_checkpoint(path)
        except CheckpointError as error:
            assert "\n" not in str(error)
            return
    assert loaded.metadata == METADATA
    assert all(same(loaded.arrays[name], array) for name, array in ARRAYS.items())


def test_missing(tmp_path):
    save_checkpoint(tmp_path / "tirgn_best", ARRAYS, METADATA)
    message = fails(tmp_path / "tirgn_bset.npz")
    assert "does not exist; did you mean 'tirgn_best.npz'?" in message and "tirgn train" in message
    assert "does not exist; run `tirgn train`" in fails(tmp_path / "no" / "folder.npz")
    assert "is a folder" in fails(tmp_path) and "tirgn_best.npz" in fails(tmp_path)


def test_foreign_files(tmp_path):
    foreign = tmp_path / "weights.npz"
    np.savez(foreign, weight=np.zeros(3))
    assert "without checkpoint metadata" in fails(foreign)
    (tmp_path / "model.pt").write_bytes(b"\x80\x04 pickle")
    assert "not a checkpoint" in fails(tmp_path / "model.pt")
    (tmp_path / "empty.npz").write_bytes(b"")
    assert "not a checkpoint" in fails(tmp_path / "empty.npz")
    np.savez(foreign, __metadata__=np.frombuffer(b"[1]", np.uint8))
    assert "corrupt" in fails(foreign)
    np.savez(foreign, __metadata__=np.frombuffer(b"\xff{", np.uint8))
    assert "corrupt" in fails(foreign)


def test_pickles_are_refused(tmp_path):
    path = save_checkpoint(tmp_path / "m", ARRAYS, METADATA)
    path.with_suffix(".json").unlink()
    with zipfile.ZipFile(path, "a") as archive, archive.open("evil.npy", "w") as member:
        np.lib.format.write_array(member, np.array([{}, set()], object), allow_pickle=True)
    assert "pickled, which is never loaded" in fails(path)


@pytest.mark.parametrize("array", [np.array([{}]), np.array(["text"]), np.zeros(2, [("x", "f4")])])
def test_what_is_no_number_is_not_saved(tmp_path, array):
    with pytest.raises(CheckpointError, match="array 'odd'"):
        save_checkpoint(tmp_path / "m", {"odd": array}, {})
    with pytest.raises(CheckpointError, match="reserved"):
        save_checkpoint(tmp_path / "m", {"__metadata__": np.zeros(1)}, {})
    assert not list(tmp_path.iterdir())


def test_failing_before_the_rename_leaves_the_old_files_whole(tmp_path, monkeypatch):
    path = save_checkpoint(tmp_path / "m", ARRAYS, METADATA)

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(CheckpointError, match=r"No space left on device\); choose another --model-dir"):
        save_checkpoint(path, {"entity": np.ones(5)}, {"new": True})
    assert load_checkpoint(path).metadata == METADATA
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.json", "m.npz"]


@pytest.mark.parametrize("survivors", [0, 1])
def test_a_kill_between_the_renames_leaves_a_whole_checkpoint(tmp_path, monkeypatch, survivors):
    path = save_checkpoint(tmp_path / "m", ARRAYS, METADATA)
    rename, calls = os.replace, []

    def kill(source, target):
        if len(calls) == survivors:
            raise KeyboardInterrupt
        calls.append(target)
        rename(source, target)

    monkeypatch.setattr(os, "replace", kill)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, {"entity": np.ones(5)}, {"new": True})
    loaded = load_checkpoint(path)
    assert loaded.metadata == (METADATA if survivors == 0 else {"new": True})
    assert loaded.arrays["entity"].shape == ((3, 4) if survivors == 0 else (5,))


def pair(folder):
    """Two checkpoints, and the sha256 of the first."""
    old = save_checkpoint(folder / "m", ARRAYS, METADATA)
    new = save_checkpoint(folder / "new" / "other", {"entity": np.ones(5)}, {"new": True})
    return old, new, hashlib.sha256(old.read_bytes()).hexdigest()


@pytest.mark.parametrize("with_side", [True, False])
def test_a_replaced_checkpoint_is_kept(tmp_path, with_side):
    old, new, sha256 = pair(tmp_path)
    save_checkpoint(tmp_path / "m.previous", {}, {"long ago": True})
    if not with_side:
        old.with_suffix(".json").unlink()
    files = {path.suffix: path.read_bytes() for path in tmp_path.glob("m.*") if "previous" not in path.name}
    previous = replace_checkpoint(old.with_suffix(""), new, sha256)
    assert previous == tmp_path / "m.previous.npz"
    assert {path.suffix: path.read_bytes() for path in tmp_path.glob("m.previous.*")} == files
    assert load_checkpoint(previous).metadata == METADATA
    for suffix in (".npz", ".json"):
        assert old.with_suffix(suffix).read_bytes() == new.with_suffix(suffix).read_bytes()


def test_a_kill_at_any_moment_of_a_replacement_leaves_a_whole_checkpoint(tmp_path, monkeypatch):
    """A process that dies changes nothing any more: neither do the clean-ups that follow here."""
    calls = {"replace": os.replace, "unlink": Path.unlink}
    outcomes = []
    for survivors in range(20):
        old, new, sha256 = pair(tmp_path / str(survivors))
        done = []

        def dying(name, survivors=survivors, done=done):
            def call(*args, **options):
                if len(done) >= survivors:
                    raise KeyboardInterrupt
                done.append(name)
                return calls[name](*args, **options)

            return call

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", dying("replace"))
            patch.setattr(Path, "unlink", dying("unlink"))
            try:
                replace_checkpoint(old, new, sha256)
            except KeyboardInterrupt:
                pass
            else:
                break
        found = load_checkpoint(old).metadata
        outcomes.append(found == {"new": True})
        assert found in (METADATA, {"new": True})
        previous = old.with_name("m.previous.npz")
        assert not previous.exists() or load_checkpoint(previous).metadata == METADATA
        assert not outcomes[-1] or previous.exists()
    assert len(outcomes) >= 6 and outcomes == sorted(outcomes) and set(outcomes) == {True, False}


def test_a_checkpoint_that_is_replaced_while_it_is_read_is_read_again(tmp_path, monkeypatch):
    path, read = save_checkpoint(tmp_path / "m", ARRAYS, METADATA), Path.read_bytes

    def interrupted(file):
        content = read(file)
        if file == path and not changed:
            changed.append(save_checkpoint(path, {"entity": np.ones(5)}, {"new": True}))
        return content

    changed = []
    monkeypatch.setattr(Path, "read_bytes", interrupted)
    assert load_checkpoint(path).metadata == {"new": True} and changed


def test_what_was_changed_in_the_meantime_is_not_replaced(tmp_path):
    old, new, _ = pair(tmp_path)
    with pytest.raises(CheckpointError, match="changed by another program"):
        replace_checkpoint(old, new, "0" * 64)
    with pytest.raises(CheckpointError, match="does not exist"):
        replace_checkpoint(tmp_path / "none.npz", new, "0" * 64)
    assert load_checkpoint(old).metadata == METADATA and not list(tmp_path.glob("*previous*"))


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"cannot be written \(.*\); choose another --model-dir"):
        save_checkpoint(tmp_path / "file" / "m", ARRAYS, METADATA)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = save_checkpoint(tmp_path / "m", ARRAYS, METADATA)

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert "cannot be read (Permission denied)" in fails(path)


def test_a_mapped_checkpoint_has_the_same_arrays_and_reads_no_more_than_is_looked_at(tmp_path):
    arrays = ARRAYS | {"flags": np.asarray([True, False]), "none": np.zeros((0, 3), np.float32)}
    path = save_checkpoint(tmp_path / "model", arrays, METADATA)
    found, mapped = load_checkpoint(path), load_checkpoint(path, mapped=True)
    assert found.metadata == mapped.metadata and found.arrays.keys() == mapped.arrays.keys()
    assert all(same(found.arrays[name], mapped.arrays[name]) for name in arrays)
    assert not mapped.arrays["entity"].flags.owndata and not mapped.arrays["entity"].flags.writeable
    # A file that takes its place changes nothing.
    save_checkpoint(path, {"entity": np.zeros((3, 4), np.float32)}, {})
    assert same(mapped.arrays["entity"], ARRAYS["entity"])


@pytest.mark.parametrize("with_side", [True, False])
def test_a_mapped_checkpoint_that_was_changed_is_refused(tmp_path, with_side):
    path = save_checkpoint(tmp_path / "model", ARRAYS, METADATA)
    content = bytearray(path.read_bytes())
    at = content.index(ARRAYS["entity"].tobytes())
    content[at + 5] ^= 1
    path.write_bytes(content)
    if not with_side:
        path.with_suffix(".json").unlink()
    with pytest.raises(CheckpointError, match="sha256" if with_side else "check sum"):
        load_checkpoint(path, mapped=True)
    path.write_bytes(content[: at + 3])
    with pytest.raises(CheckpointError):
        load_checkpoint(path, mapped=True)


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(0, 9), padding=st.integers(0, 3), block=st.integers(1, 200))
def test_blocks_of_rows_make_the_same_file_as_the_whole(rows, padding, block):
    import jax.numpy as jnp

    table = np.arange(4.0 * (rows + padding), dtype=np.float32).reshape(-1, 4)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(meshes, "BLOCK_BYTES", block)
        blocks = meshes.Blocks(jnp.asarray(table), rows)
        pieces = [len(piece) for piece in blocks]
        assert sum(pieces) == rows and max(pieces, default=0) <= max(1, block // 16)
        one = save_checkpoint(Path(folder) / "one", {"table": table[:rows], "step": np.asarray(7)}, METADATA)
        other = save_checkpoint(Path(folder) / "other", {"table": blocks, "step": np.asarray(7)}, METADATA)
        assert one.read_bytes() == other.read_bytes()
