"""Whole lines taken apart as bytes: where each begins and ends, its fields, its encoding."""

import numpy as np

_TAB, _NEWLINE = 9, 10
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def split_lines(data: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """First byte, newline and number of fields of each line, and the lines with a NUL byte."""
    codes = np.frombuffer(data, np.uint8)
    low = np.flatnonzero(codes < _NEWLINE + 1)
    kind = codes[low]
    newline = np.flatnonzero(kind == _NEWLINE)
    ends = low[newline]
    starts = np.concatenate([[0], ends + 1])[:-1]
    fields = np.diff(newline, prepend=-1)
    other = np.flatnonzero(kind < _TAB)
    lines = np.searchsorted(newline, other)
    fields -= np.bincount(lines, minlength=len(newline))
    return starts, ends, fields, np.unique(lines[kind[other] == 0])


def decode_lines(data: bytes, starts: np.ndarray, ends: np.ndarray, good: np.ndarray) -> tuple[dict[int, bytes], int]:
    """The good lines that must be written otherwise, as UTF-8 without a byte order mark; how many were Latin-1."""
    high = np.flatnonzero(np.frombuffer(data, np.uint8) > 127)
    changed, latin1 = {}, 0
    for line in np.unique(np.searchsorted(ends, high)).tolist():
        if not good[line]:
            continue
        raw = data[starts[line] : ends[line]]
        text = raw.removeprefix(_BYTE_ORDER_MARK)
        try:
            text.decode()
        except UnicodeDecodeError:
            text = text.decode("latin-1").encode()
            latin1 += 1
        if text != raw:
            changed[line] = text
    return changed, latin1


def join_lines(data: bytes, starts: np.ndarray, ends: np.ndarray, left: np.ndarray, changed: dict[int, bytes]) -> bytes:
    """`data` without the lines `left`, and with the changed ones as they are now."""
    left_out = set(left.tolist())
    pieces, begin = [], 0
    for line in sorted(left_out | set(changed)):
        pieces.append(data[begin : starts[line]])
        if line not in left_out:
            pieces.append(changed[line] + b"\n")
        begin = int(ends[line]) + 1
    return b"".join([*pieces, data[begin:]])
