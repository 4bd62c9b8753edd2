"""Archives of arrays: limits on what they claim, and sound ones read as they were."""

import io
import pickle
import zipfile

import numpy as np
import pytest

from tests.storage.archives import archive, header, npy, packed_arrays, peak
from tirgn_eqx.checkpoint.released import read_state_dict
from tirgn_eqx.errors import CheckpointError
from tirgn_eqx.storage import npz
from tirgn_eqx.storage.download import zip_trouble
from tirgn_eqx.storage.npz import mapped, read_arrays
from tirgn_eqx.storage.untrusted import Unsound
from tools.fuzz import damage


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (header("(1000000000000,)") + bytes(8), "says"),
        (header("(1000000000, 1000000000, 1000000000)"), "says"),
        (header("(0, 9999999999999999999)"), "says"),
        (header("(-1,)"), "header"),
        (header("(1,)", "|O") + bytes(8), "pickled"),
        (header("(1,)", "<U4") + bytes(16), "type"),
        (header("(1,)", "<f16") + bytes(16), "type"),
        (header("(" + "1," * 40 + ")") + bytes(8), "header"),
        (header("__import__('os').getcwd()") + bytes(8), "header"),
        (b"\x93NUMPY\x09\x00", "no format"),
        (pickle.dumps(damage.Evil()), "no format"),
    ],
)
def test_an_array_has_the_bytes_that_its_header_says(raw, words):
    def refused():
        with pytest.raises(Unsound, match=words):
            read_arrays(archive(("a.npy", raw)))

    assert peak(refused) < 1_000_000


@pytest.mark.parametrize(
    "array", [np.arange(6).reshape(2, 3).T, np.array(1.5, ">f4"), np.zeros((0, 3)), np.array([True])]
)
def test_sound_arrays_are_what_they_were(array):
    (found,) = read_arrays(archive(("a.npy", npy(array)))).values()
    assert found.dtype == array.dtype.newbyteorder("=") and found.shape == array.shape
    np.testing.assert_array_equal(found, array)


def test_archives_do_not_unpack_to_more_than_they_may(tmp_path):
    bomb = archive(("a.npy", npy(np.zeros(20_000_000, np.uint8))), method=zipfile.ZIP_DEFLATED)
    for packed, words in ((False, "compressed"), (True, None)):
        if words:
            with pytest.raises(Unsound, match=words):
                read_arrays(bomb, packed=packed)
    large = archive(*((f"{n}.npy", npy(np.zeros(20_000_000, np.uint8))) for n in range(4)), method=zipfile.ZIP_DEFLATED)
    assert peak(lambda: pytest.raises(Unsound, read_arrays, large, packed=True)) < 5_000_000
    with pytest.raises(Unsound, match="twice"):
        read_arrays(archive(("a.npy", npy(np.zeros(1))), ("a.npy", npy(np.ones(1)))))
    (tmp_path / "state.npz").write_bytes(large)
    with pytest.raises(CheckpointError, match="unpacks to"):
        read_state_dict(tmp_path / "state.npz")
    (tmp_path / "a.zip").write_bytes(large)
    assert "4 files" in zip_trouble(tmp_path / "a.zip")
    (tmp_path / "a.zip").write_bytes(archive(("a.CSV", bytes(80_000_000)), method=zipfile.ZIP_DEFLATED))
    assert peak(lambda: zip_trouble(tmp_path / "a.zip")) < 1_000_000
    assert "at most" in zip_trouble(tmp_path / "a.zip")


def test_all_arrays_of_an_archive_together_have_a_limit(monkeypatch):
    size = 100 + 128  # with its header
    monkeypatch.setattr(npz, "room_for", lambda _: 4 * size)
    assert len(npz.read_arrays(packed_arrays(4), packed=True)) == 4
    with pytest.raises(Unsound, match=f"unpacks to {5 * size:,} bytes, more than the {4 * size:,}"):
        npz.read_arrays(packed_arrays(5), packed=True)


@pytest.mark.parametrize("shape", ["()", "(0,)", "(2,)", "(4,)", "(0, 3)", "(2, 2)"])
def test_an_array_has_as_many_bytes_as_it_says(shape):
    """Three numbers of eight bytes, under a header that says another shape: none is cut off or passed over."""
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    raw = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + np.arange(3.0).tobytes()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.npy", raw)
    with pytest.raises(Unsound, match=r"array 'a' says \[.*\] of float64, but has 24 bytes"):
        npz.read_arrays(file.getvalue())


def test_arrays_of_a_mapped_file_stay_on_the_disk(tmp_path):
    path, values = tmp_path / "a.npz", np.arange(1000, dtype=np.float32)
    np.savez(path, a=values, b=np.array([[True, False]]))
    found = read_arrays(mapped(path))
    np.testing.assert_array_equal(found["a"], values)
    assert found["b"].tolist() == [[True, False]] and not found["a"].flags.owndata and not found["a"].flags.writeable
    np.savez(tmp_path / "new.npz", a=values + 1)
    (tmp_path / "new.npz").replace(path)
    np.testing.assert_array_equal(found["a"], values)


def test_a_mapped_file_is_checked_before_it_is_used(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.arange(1000))
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)
    with pytest.raises(Unsound, match="'a' is not what its check sum says"):
        read_arrays(mapped(path))
    np.savez_compressed(path, a=np.arange(1000))
    with pytest.raises(Unsound, match="'a' is compressed; expected none"):
        read_arrays(mapped(path), packed=True)
