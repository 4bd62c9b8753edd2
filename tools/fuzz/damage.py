"""Damaged and hostile files for the fuzzers and the tests: a valid file of every kind, and what chance makes of it.

Chance knows the forms: text gets other words, JSON other values, archives other members and headers, tables other
types; any file gets flipped bits, cuts, repetitions and numbers at the edges of their types. `chance` is a
`random.Random`, so that a seed, or hypothesis, decides everything.
"""

import datetime as dt
import gzip
import io
import json
import os
import pickle
import random
import re
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

Files = dict[str, bytes]
NUMBERS = (0, 1, -1, 127, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, -(2**63), 10**12, 10**18)
WORDS = (
    *("", "0", "-1", "1e999", "NaN", "inf", "-inf", "10000000000", "1000000000000", "99999999999999999999", "1_000"),
    *("9" * 5000, "0x" + "F" * 5000, "true", "null", "[]", "{}", "'", '"', '"""', "=", ",", "\t", "\n", "\r", "\0"),
    *("\x1b[2J\x1b[31mred", "\x07", "\u202eevil", "\u2028", "<script>alert(1)</script>", "[bold]x[/]", "=cmd()"),
    *("../../../../tmp/x", "/dev/zero", "~nobody/x", "sim", "1979-05-27T07:32:00Z", "2018-02-30", "99999999", "\ufeff"),
    *("0000-00-00", "20180101000000", "x" * 3000, "Ünïcödé 名前 😀", "[" * 3000, '{"a":' * 3000, "a." * 3000 + "a=1"),
)
CANARY = "executed"
MOST = 1 << 20  # bytes of a file that are changed once more: of a bomb that chance made before, its beginning


class Evil:
    """Unpickled, it makes a file in the working folder."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {CANARY}",)


def number(chance: random.Random) -> int:
    return chance.choice(NUMBERS) + chance.choice((0, 0, -1, 1))


def in_bytes(data: bytes, chance: random.Random) -> bytes:
    """Flipped, overwritten, cut, repeated or spliced."""
    out = bytearray(data[:MOST])
    for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
        at = chance.randrange(len(out) + 1)
        # Most of what matters in archives and tables stands at their end.
        at = at if chance.random() < 0.5 else max(0, len(out) - chance.randrange(1, 200))
        end = min(len(out), at + chance.choice((1, 2, 4, 8, 64, 1000)))
        kind = chance.randrange(7)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            out[at:end] = chance.randbytes(end - at)
        elif kind == 2:
            del out[at:]
        elif kind == 3:
            del out[at:end]
        elif kind == 4:
            out[at:at] = out[at:end] * chance.choice((1, 2, 50))
        elif kind == 5:
            form = chance.choice(("<H", "<I", "<Q", ">I"))
            value = number(chance) % (1 << 8 * struct.calcsize(form))
            out[at : at + struct.calcsize(form)] = struct.pack(form, value)
        else:
            out[at:at] = chance.choice(WORDS).encode()
    return bytes(out)


def in_text(data: bytes, chance: random.Random) -> bytes:
    """Other words, lines repeated, left out, joined or very long."""
    parts = re.split(rb"([\s,=:\[\]{}\"]+)", data[:MOST])
    for _ in range(chance.choice((1, 1, 2, 5))):
        at, kind = chance.randrange(len(parts)), chance.randrange(8)
        if kind < 4:
            word = str(number(chance)) if chance.random() < 0.3 else chance.choice(WORDS)
            parts[at] = word.encode("utf-8", "surrogatepass")
        elif kind == 4:
            parts[at] = chance.randbytes(chance.choice((1, 4, 20)))
        elif kind == 5:
            parts[at : at + chance.randrange(1, 9)] = []
            parts = parts or [b""]
        elif kind == 6:
            parts[at:at] = parts[at : at + chance.randrange(1, 9)] * chance.choice((1, 3, 200))
        else:
            parts[at] = b"7" * chance.choice((100, 70_000)) if chance.random() < 0.5 else b"\t" * 300
    return b"".join(parts)


def value(chance: random.Random) -> object:
    """Anything that JSON can say."""
    deep: object = 1
    for _ in range(chance.choice((1, 50, 900))):
        deep = [deep]
    odd = (None, True, [], {}, [1, "a"], {"a": None}, deep, float("nan"), float("inf"), 1e308, 0.5, 10**400)
    return chance.choice((*odd, *WORDS, number(chance), number(chance)))


def in_json(data: bytes, chance: random.Random) -> bytes:
    """Some values are others, some keys are gone or new."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return in_text(data, chance)
    for _ in range(chance.choice((1, 1, 2, 4))):
        document = _changed(document, chance)
    if chance.random() < 0.05:
        return b"[" * 100_000 if chance.random() < 0.5 else b'{"a":' * 100_000
    return json.dumps(document).encode()


def _changed(node: object, chance: random.Random) -> object:
    if not isinstance(node, dict | list) or not node or chance.random() < 0.15:
        return value(chance)
    key = chance.choice(list(node)) if isinstance(node, dict) else chance.randrange(len(node))
    kind = chance.randrange(10)
    if kind == 0:
        del node[key]
    elif kind == 1 and isinstance(node, dict):
        node[chance.choice(WORDS)] = value(chance)
    else:
        node[key] = _changed(node[key], chance)
    return node


def members(data: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(member.filename, archive.read(member)) for member in archive.infolist()]


def archived(content: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore")  # two members of one name
        for name, raw in content:
            archive.writestr(zipfile.ZipInfo(name), raw, method)
    return buffer.getvalue()


def in_header(raw: bytes, chance: random.Random) -> bytes:
    """An npy file whose header says something else."""
    size = str(abs(number(chance)))
    shape = chance.choice((f"({size},)", f"({size}, {size})", "()", "(0,)", f"(0, {size})", "(-1,)", "(1.5,)", "(a,)"))
    new = chance.choice(
        (
            (rb"'shape': \([^)]*\)", f"'shape': {shape}"),
            (
                rb"'descr': '[^']*'",
                f"'descr': '{chance.choice(('|O', '<f8', '>f4', '<U9', '|V8', '<M8[s]', 'x', '<f16'))}'",
            ),
            (rb"'fortran_order': \w+", f"'fortran_order': {chance.choice(('True', '1', 'None'))}"),
            (rb"\{.*\}", chance.choice(("__import__('os')", "(" * 500, "{" * 50, "-" * 5000 + "1", "{}"))),
        )
    )
    made = re.sub(new[0], new[1].encode(), raw, count=1)
    if chance.random() < 0.8 and len(made) != len(raw) and raw[:6] == b"\x93NUMPY":
        length = struct.unpack("<H", raw[8:10])[0] + len(made) - len(raw)
        made = made[:8] + struct.pack("<H", length % 2**16) + made[10:]
    return made


def in_archive(data: bytes, chance: random.Random) -> bytes:
    """Other members: renamed, left out, doubled, packed, a bomb, nested, with another header, type, shape or code."""
    try:
        content = members(data) or [("empty", b"")]
    except Exception:  # one that chance has damaged before
        return in_bytes(data, chance)
    method = zipfile.ZIP_STORED
    for _ in range(chance.choice((1, 1, 2))):
        at, kind = chance.randrange(len(content)), chance.randrange(11)
        name, raw = content[at]
        if kind == 0:
            content[at] = (chance.choice(("../../evil.npy", "/tmp/evil.npy", "a/../b.npy", *WORDS))[:60000], raw)
        elif kind == 1:
            del content[at]
            content = content or [("empty", b"")]
        elif kind == 2:
            content.append(chance.choice(content))
        elif kind == 3:
            method = chance.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
        elif kind == 4:
            content[at], method = (name, bytes(20_000_000)), zipfile.ZIP_DEFLATED
            if chance.random() < 0.2:
                content[at] = (name, bytes(150_000_000))
        elif kind == 5:
            content[at] = (name, archived(content))
        elif kind == 6:
            content[at] = (name, in_header(raw, chance))
        elif kind == 7:
            content[at] = (name, in_bytes(raw, chance))
        elif kind == 8:
            array = np.asarray(
                chance.choice((np.zeros(3), np.zeros((2, 2), np.int64), np.full(2, np.nan), ["text"], 1j))
            )
            content[at] = (name, _npy(array))
        elif kind == 9:
            text = raw[128:] if name.startswith("__metadata__") else raw
            inner = in_json(text, chance) if text[:1] == b"{" else in_bytes(text, chance)
            content[at] = (name, _npy(np.frombuffer(inner, np.uint8)) if text is not raw else inner)
        else:
            evil = pickle.dumps(Evil(), chance.choice((0, 2, 4)))
            content[at] = (name, evil if name.endswith(".pkl") else _npy(np.array([Evil()], object)))
    made = archived(content, method)
    return in_bytes(made, chance) if chance.random() < 0.1 else made


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def in_table(data: bytes, chance: random.Random) -> bytes:
    """A parquet file with columns of other types, or other values at the edges."""
    try:
        table = pl.read_parquet(io.BytesIO(data))
        metadata = pl.read_parquet_metadata(io.BytesIO(data))
    except BaseException:  # a panic of the reader is no Exception
        return in_bytes(data, chance)
    name, rows = chance.choice(table.columns), table.height

    def edge(kind):
        return pl.Series(name, [number(chance) % 2**62 * chance.choice((1, -1))] * rows, pl.Int64).cast(kind)

    made = (
        lambda: edge(pl.Int64),
        lambda: edge(pl.Datetime(chance.choice(("ms", "us", "ns")))),
        lambda: pl.Series(name, [chance.choice(WORDS) for _ in range(rows)]),
        lambda: pl.Series(name, [[1]] * rows),
        lambda: pl.Series(name, [{"a": 1, "\x1b[31m": "b"}] * rows),
        lambda: pl.Series(name, [b"\xff\xfe"] * rows),
        lambda: pl.Series(name, [None] * rows),
        lambda: pl.Series(name, [chance.choice((float("nan"), float("inf"), 1e300, 20180101.0, -0.5))] * rows),
        lambda: pl.Series(name, [dt.time(1)] * rows),
        lambda: pl.Series(name, [dt.timedelta(days=number(chance) % 10**6)] * rows),
        lambda: pl.Series(name, [dt.date(1, 1, 1)] * rows),
        lambda: pl.Series(name, ["a"] * rows, pl.Categorical),
        lambda: pl.Series(name, [True] * rows),
    )
    kind = chance.randrange(6)
    if kind == 0:
        table = table.rename({name: chance.choice(WORDS)[:200] or "none"})
    elif kind == 1:
        table = table.head(chance.choice((0, 1, 2)))
    elif kind == 2:
        table = table.drop(name)
    else:
        table = table.with_columns(chance.choice(made)().alias(name))
    told = {key: text for key, text in metadata.items() if key.startswith("tirgn")}
    if told and chance.random() < 0.7:
        key = next(iter(told))
        told[key] = in_json(told[key].encode(), chance).decode("utf-8", "replace")
    buffer = io.BytesIO()
    table.write_parquet(buffer, metadata=told or None)
    return buffer.getvalue()


def in_gzip(data: bytes, chance: random.Random) -> bytes:
    """Other contents, or a bomb."""
    try:
        inner = gzip.decompress(data)
    except Exception:  # one that chance has damaged before
        return in_bytes(data, chance)
    if chance.random() < 0.1:
        return gzip.compress(bytes(chance.choice((1_000_000, 150_000_000))), 1)
    return gzip.compress(in_text(inner, chance))


FORMS = {
    **{".json": in_json, ".npz": in_archive, ".zip": in_archive, ".pt": in_archive},
    **{".parquet": in_table, ".gz": in_gzip},
}


def mutated(files: Files, chance: random.Random) -> Files:
    """The files, one or some of them changed."""
    files, seen = dict(files), set()
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        name = chance.choice(sorted(files))
        form = FORMS.get(Path(name).suffix, in_text)
        form = in_bytes if chance.random() < (0.2 if form is in_text else 0.4) else form
        # A damaged table can end the process that reads it.
        form = in_bytes if form is in_table and name in seen else form
        seen.add(name)
        files[name] = form(files[name], chance)
        if chance.random() < 0.02:
            files[name] = b"" if chance.random() < 0.5 else files[chance.choice(sorted(files))]
    return files
