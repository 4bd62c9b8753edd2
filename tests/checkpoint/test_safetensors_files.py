"""Checkpoints as safetensors: every bit comes back, by this package and by the format's own; what is refused."""

import builtins
import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from safetensors.numpy import load_file, save_file

from tirgn_eqx.checkpoint.files import load_checkpoint, save_checkpoint
from tirgn_eqx.checkpoint.safetensors_files import export_safetensors, read_safetensors
from tirgn_eqx.errors import CheckpointError, ConfigError

METADATA = {"model_type": "tirgn", "config": {"seed": 3}, "entities": ["Ä", "b\n"], "metrics": {"mrr": 0.1 + 0.2}}
ARRAYS = st.dictionaries(
    st.text("abc._0", min_size=1, max_size=8),
    st.sampled_from(["f4", "f8", "i4", "i8", "u1", "?"]).flatmap(
        lambda kind: arrays_of.arrays(kind, arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
    ),
    max_size=4,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("safetensors")


@settings(max_examples=50, deadline=None)
@given(ARRAYS)
def test_every_bit_comes_back(place, arrays):
    checkpoint = save_checkpoint(place / "a.npz", arrays, METADATA)
    path = export_safetensors(checkpoint, place / "a.safetensors")
    found, expected = read_safetensors(path), load_checkpoint(checkpoint)
    assert found.metadata == expected.metadata == METADATA
    for others in (found.arrays, load_file(path)):
        assert sorted(others) == sorted(arrays)
        for name, array in arrays.items():
            assert (others[name].dtype, others[name].shape) == (array.dtype, array.shape)
            assert others[name].tobytes() == array.tobytes()


def test_columns_in_fortran_order(place):
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    path = export_safetensors(save_checkpoint(place / "b.npz", {"a": array}, METADATA), place / "b.safetensors")
    np.testing.assert_array_equal(read_safetensors(path).arrays["a"], array)


def test_files_of_others_are_refused(place):
    path = place / "c.safetensors"
    head = json.dumps({"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}).encode()
    for content, words in (
        (b"text", "cannot be read"),
        (struct.pack("<Q", len(head)) + head, "cannot be read"),
        (struct.pack("<Q", 1 << 60) + head, "cannot be read"),
    ):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=words):
            read_safetensors(path)
    for metadata, words in ((None, "without the metadata"), ({"tirgn": "{"}, "no JSON"), ({"tirgn": "[]"}, "are list")):
        save_file({"a": np.zeros(2, np.float32)}, path, metadata=metadata)
        with pytest.raises(CheckpointError, match=words):
            read_safetensors(path)
    for missing in (place / "none.safetensors", place):
        with pytest.raises(CheckpointError, match="cannot be read"):
            read_safetensors(missing)


def test_without_the_package(place, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] == "safetensors":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    for call in (lambda: read_safetensors(place / "a"), lambda: export_safetensors(place / "a.npz", place / "a")):
        with pytest.raises(ConfigError, match=r"safetensors is not installed; run: pip install 'tirgn-eqx\[safetens"):
            call()
