"""Columns of numbers as npy files: what is written is what numpy and the mapping read, or is refused."""

import hashlib

import numpy as np
import pytest

from tirgn_eqx.errors import DataError
from tirgn_eqx.storage import npy_columns
from tirgn_eqx.storage.npy_columns import Column, check_column, chunks, map_column


def test_columns_are_what_numpy_reads(tmp_path):
    for values in (np.arange(10, dtype=np.int64), np.zeros(0, np.int32), np.array([1, 2], np.int8)):
        with Column(tmp_path / "a.npy", values.dtype) as made:
            made.append(values[:3])
            made.append(values[3:])
        np.testing.assert_array_equal(np.load(tmp_path / "a.npy", allow_pickle=False), values)
        mapped = map_column(tmp_path / "a.npy", values.dtype, len(values), "")
        assert mapped.dtype == values.dtype and np.array_equal(mapped, values)
        check_column(tmp_path / "a.npy", mapped, made.described["sha256"], "")
        np.save(tmp_path / "b.npy", values)
        assert np.array_equal(map_column(tmp_path / "b.npy", values.dtype, len(values), ""), values)


def test_the_header_is_the_one_that_numpy_writes(tmp_path):
    for values in (np.arange(3, dtype=np.int32), np.zeros(0, np.int8), np.arange(10**5)):
        with Column(tmp_path / "a.npy", values.dtype) as made:
            made.append(values)
        np.save(tmp_path / "b.npy", values)
        assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


def test_a_column_that_was_never_finished_is_refused(tmp_path):
    with pytest.raises(KeyError):
        with Column(tmp_path / "a.npy", np.int32) as made:
            made.append(np.arange(5))
            raise KeyError
    with pytest.raises(DataError, match="a.npy: it is in no format of numpy; make it again"):
        map_column(tmp_path / "a.npy", np.int32, 5, "make it again")


def test_a_column_of_another_type_or_length_is_refused(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.arange(5, dtype=np.int32))
    for dtype, length, words in (
        (np.int64, 5, r"holds \[5\] of <i4, expected \[5\] of <i8"),
        (np.int32, 6, r"holds \[5\] of <i4, expected \[6\] of <i4"),
    ):
        with pytest.raises(DataError, match=words):
            map_column(path, dtype, length, "")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="has 147 bytes, but its header says 148"):
        map_column(path, np.int32, 5, "")
    with pytest.raises(DataError, match="none.npy: file is missing; find it"):
        map_column(tmp_path / "none.npy", np.int32, 5, "find it")


def test_every_number_of_a_column_is_checked(tmp_path, monkeypatch):
    values = np.arange(10, dtype=np.int32)
    monkeypatch.setattr(npy_columns, "chunks", lambda values: chunks(values, 3))
    sha256 = hashlib.sha256(values.tobytes()).hexdigest()
    check_column(tmp_path, values, sha256, "", 0, 10)
    with pytest.raises(DataError, match="number 7 is 7, outside 0 to 6; mend it"):
        check_column(tmp_path, values, sha256, "mend it", 0, 7)
    with pytest.raises(DataError, match="number 0 is 0, outside 1 to 9"):
        check_column(tmp_path, values, sha256, "", 1, 10)
    values[9] = 8
    with pytest.raises(DataError, match="another sha256"):
        check_column(tmp_path, values, sha256, "", 0, 10)
