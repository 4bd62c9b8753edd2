"""Pickles of arrays: read without unpickling, and refused in one line where they are anything else."""

import os
import pickle
import pickletools

import numpy as np
import pytest

from tests import tgb_files
from tirgn_eqx.data.readers.pickled_arrays import read_entries
from tirgn_eqx.storage.untrusted import Unsound


@pytest.mark.parametrize("kind", ["<i2", ">i8", "<u4", "|u1", ">i4"])
@pytest.mark.parametrize("protocol", [3, 5])
def test_any_whole_numbers(tmp_path, kind, protocol):
    value = np.array([3, 1, 200 if "u" in kind else -2]).astype(kind)
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({(1, -5, 2**40): value}, protocol))
    ((key, found),) = read_entries(tmp_path / "x.pkl")
    assert key == (1, -5, 2**40) and found.tolist() == value.tolist() and found.dtype == np.int64


class Evil:
    def __reduce__(self):
        return os.system, ("touch ran",)


def hostile():
    array, key = np.arange(3), (1, 2, 3)
    yield "code", {key: Evil()}
    yield "code as a key", {(1, 2, Evil()): array}
    yield "a list", [array]
    yield "a dict in a dict", {key: {key: array}}
    yield "objects", {key: np.array([None, Evil()], object)}
    yield "text", {key: np.array(["a"])}
    yield "floats", {key: np.array([0.5])}
    yield "two dimensions", {key: np.zeros((2, 2), int)}
    yield "a key of text", {("a", 1, 2): array}
    yield "a number for an array", {key: 3}
    yield "one array twice", {(1, 2, n): a for a in [np.arange(99)] for n in range(2)}
    yield "a set", {key: {1, 2}}
    yield "a dtype of records", {key: np.zeros(2, [("a", int)])}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("content", [pytest.param(content, id=name) for name, content in hostile()])
def test_nothing_else_is_read_and_nothing_is_run(tmp_path, monkeypatch, content, protocol):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(content, protocol))
    with pytest.raises(Unsound):
        list(read_entries(tmp_path / "x.pkl"))
    assert not (tmp_path / "ran").exists()


RAW = [
    b"",
    b".",
    b"\x80\x05}",
    b"\x80\x05}(.",
    b"\x80\x09}.",
    b"}r\xff\xff\xff\xff.",  # a place in the memo far beyond: no list of that length is made
    b"B\xff\xff\xff\xff",
    b"\x8e" + b"\xff" * 8,
    b"\x96" + b"\xff\xff\xff\xff\xff\xff\xff\x00abc",
    b"(" * 5000 + b".",
    b"h\x00.",
    b"R.",
    b"))R.",
    b"}))s.",
    b"}(K\x01u.",
    b"cos\nsystem\n.",
    b"\x8c\x02os\x8c\x06system\x93.",
    b"cnumpy\nload\n.",
    b"cnumpy\ndtype\n\x8c\x02O8\x85R.",
    b"cnumpy\ndtype\n\x8c\x02i8\x85R}b.",
    b"cnumpy.core.multiarray\nscalar\n)R.",
    b"\x85.",
    b"t.",
    b"u.",
    b"\x8a\xff.",
]


@pytest.mark.parametrize("content", RAW)
def test_hand_made_pickles_end_in_one_line(tmp_path, content):
    (tmp_path / "x.pkl").write_bytes(content)
    if content == b"}r\xff\xff\xff\xff.":
        assert list(read_entries(tmp_path / "x.pkl")) == []
        return
    with pytest.raises(Unsound):
        list(read_entries(tmp_path / "x.pkl"))


@pytest.mark.ci
def test_damage_anywhere_is_unsound_or_other_numbers(tmp_path):
    folder = tgb_files.write(tmp_path, "tkgl-wikidata")
    whole = (folder / "tkgl-wikidata_val_ns.pkl").read_bytes()
    assert any(op.name == "STACK_GLOBAL" for op, _, _ in pickletools.genops(whole))
    random, place = np.random.default_rng(0), tmp_path / "x.pkl"
    for _ in range(400):
        damaged = bytearray(whole[: random.integers(1, len(whole))] if random.random() < 0.3 else whole)
        for _ in range(random.integers(1, 4)):
            damaged[random.integers(len(damaged))] = random.integers(256)
        place.write_bytes(damaged)
        try:
            assert all(isinstance(part, int) for key, _ in read_entries(place) for part in key)
        except Unsound:
            pass
