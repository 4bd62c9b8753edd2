"""The files of an event table: which there are, what columns they have, and some of the columns as polars frames.

Every file is read within limits: the helper process of `tirgn_eqx.storage.table_probe` reads parquet, Arrow and packed
files first.
"""

import gzip
import io
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from tirgn_eqx.errors import DataError, shown
from tirgn_eqx.storage.table_probe import Described, check_parquet, check_table
from tirgn_eqx.storage.untrusted import Unsound, check_regular, is_utf8, parse_json

if TYPE_CHECKING:
    import polars as pl

TABLE_FORMS = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "csv", ".tab": "csv"}
TABLE_FORMS |= dict.fromkeys((".ndjson", ".jsonl", ".json"), "ndjson")
TABLE_FORMS |= dict.fromkeys((".arrow", ".arrows", ".feather", ".ipc"), "arrow")
PACKED_SUFFIXES = (".gz", ".zst")
SUFFIXES = tuple(suffix for suffix in TABLE_FORMS if suffix != ".json")
SUFFIXES += tuple(
    suffix + packed for suffix in SUFFIXES if TABLE_FORMS[suffix] in ("csv", "ndjson") for packed in PACKED_SUFFIXES
)
ACCEPTED_TABLES = "a table as parquet, CSV, TSV or NDJSON (also .gz, .zst), Arrow or Feather, or a folder of such parts"
COUNT = "\N{NULL}fields without a value"  # the name of a column that counts them
_MAGIC = {b"\x1f\x8b": "gz", b"\x28\xb5\x2f\xfd": "zst", b"\x78\x01": "zlib", b"\x78\x9c": "zlib", b"\x78\xda": "zlib"}
_HEADER = 1 << 20  # bytes of a text table's first line
_MOST_COLUMNS = 10_000  # of a text table
_DEEPEST = 12  # folders below that of a table
_SEPARATORS = ",\t;|"
# Folders that also hold files which are not, or no longer, part of the table.
_MANAGED = {"_delta_log": "Delta Lake", ".hoodie": "Hudi", "metadata": "Iceberg"}
_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


class Part(NamedTuple):
    """One file of a table.

    **Arguments:** `path`; `name` in messages; `form`; `values`: columns by the names of its folders, as `year=2021`.
    """

    path: Path
    name: str
    form: str
    values: dict[str, str | None]


def form_of(name: str | os.PathLike[str]) -> str | None:
    """`parquet`, `csv`, `ndjson` or `arrow` by the end of a file's name, or None for one that is no table."""
    text = os.path.basename(os.fspath(name)).lower()
    for packed in PACKED_SUFFIXES:
        if text.endswith(packed):
            form = TABLE_FORMS.get(os.path.splitext(text.removesuffix(packed))[1])
            return form if form in ("csv", "ndjson") else None
    return TABLE_FORMS.get(os.path.splitext(text)[1])


def _list_files(folder: Path) -> list[tuple[Path, str]]:
    """The files below a folder that belong to a table, with their forms; hidden ones are left out."""
    found = []
    for place, folders, files in os.walk(folder):
        depth = len(Path(place).relative_to(folder).parts)
        # In order of name, so that rows have the same numbers on every system. Spark adds a file `_SUCCESS`.
        folders[:] = sorted(name for name in folders if name[0] not in "._" and depth < _DEEPEST)
        for name in sorted(files):
            form = None if name[0] in "._" else form_of(name)
            # Only parts of Spark: any other .json file beside a table describes something else.
            if form is not None and (not name.lower().endswith(".json") or name.startswith("part-")):
                found.append((Path(place) / name, form))
    return found


def table_form(path: str | Path) -> str | None:
    """The form of a file, or of the first part in a folder; None for a path that is no table."""
    found = _list_files(Path(path)) if os.path.isdir(path) else []
    return found[0][1] if found else form_of(path)


def is_table(path: str | Path) -> bool:
    """Whether a path is named like a table, or is a folder that holds parts of one."""
    return table_form(path) is not None


def find_parts(path: Path, need: str) -> list[Part]:
    """The files of a table. **Raises:** DataError for a path that is none, or a folder of files of several forms."""
    if not os.path.isdir(path):
        form = form_of(path)
        if not os.path.exists(path):
            raise DataError(f"{path}: file is missing; {need}")
        return [Part(path, str(path), form or "parquet", {})]
    for name, maker in _MANAGED.items():
        inside = path / name
        if os.path.isdir(inside) and (maker != "Iceberg" or any(inside.glob("*.metadata.json"))):
            raise DataError(
                f"{path}: a table of {maker}, which also keeps files of older versions; write it as parquet"
            )
    found = _list_files(path)
    if not found:
        raise DataError(f"{path}: a folder without parts of a table; {need}")
    forms: dict[str, Path] = {}
    for file, form in found:
        forms.setdefault(form, file)
    if len(forms) > 1:
        names = " and ".join(str(file.relative_to(path)) for file in list(forms.values())[:2])
        raise DataError(f"{path}: holds parts of several forms, such as {names}; keep one form in a folder")
    return [Part(file, str(file), form, _partition(file.parent.relative_to(path).parts)) for file, form in found]


def _partition(folders: Sequence[str]) -> dict[str, str | None]:
    pairs = (folder.partition("=") for folder in folders)
    values = {unquote(key): unquote(value) for key, equals, value in pairs if equals and key}
    return {key: None if value == _NULL_PARTITION else value for key, value in values.items()}


class Empty(Unsound):
    """A text table without a single byte, which some programs write for a part without rows."""


class PartReader:
    """Reads one part. `columns` are the names it has, those of its folders included.

    **Arguments:** `likely`: columns that will probably be read; `header`: whether the first line of a text table names
    its columns; if not, they are called 1, 2, 3 ....

    **Raises:** Unsound, OSError for a file that cannot be read.
    """

    def __init__(self, part: Part, likely: Sequence[str], header: bool = True):
        check_regular(part.path)
        if not is_utf8(part.path):
            raise Unsound("its name is not UTF-8 text; rename it")
        self.part, self.header = part, header
        self._separator, self._line_end = ",", "\n"  # of a CSV table
        self._checked: set[str] | None = None  # columns that the helper process has read; None for text
        if part.form in ("csv", "ndjson"):
            self._packed = _find_packing(part.path)
            # Of a packed text, the helper counts unpacked bytes as rows.
            if self._packed and check_table(part.path, self._packed).rows == 0:
                raise Empty("it is empty")
            self._own = self._csv_columns() if part.form == "csv" else self._json_columns()
        else:
            self._own, self._checked = list(self._check(likely).columns), set(likely)
        self.columns = [*self._own, *(key for key in part.values if key not in self._own)]

    def _check(self, columns: Sequence[str]) -> Described:
        if self.part.form == "parquet":
            return check_parquet(self.part.path, columns)
        with self.part.path.open("rb") as file:
            # A file of Arrow begins with this mark, a stream does not.
            self._stream = file.read(6) != b"ARROW1"
        return check_table(self.part.path, "arrows" if self._stream else "arrow", columns)

    def read(self, columns: Sequence[str]) -> "pl.DataFrame":
        """The columns as a polars DataFrame; of a text table, `COUNT` counts the other fields without a value."""
        import polars as pl

        inside = [name for name in columns if name in self._own]
        if not inside:
            raise Unsound("it has none of the columns itself, only in the names of its folders")
        if self._checked is not None and not self._checked.issuperset(inside):
            self._check(inside)
        path, form = self.part.path, self.part.form
        if form == "parquet":
            # `_partition` reads the names of folders. Polars would read a `*` in a name as a pattern.
            table = pl.read_parquet(path, columns=inside, glob=False, hive_partitioning=False)
        elif form == "arrow" and not self._stream:
            from tirgn_eqx.storage.table_probe_child import scan_arrow

            table = scan_arrow(str(path)).select(inside).collect()
        elif form == "arrow":
            table = pl.read_ipc_stream(path, columns=inside)
        elif form == "ndjson":
            with path.open("rb") as file:  # a path would be taken for a pattern
                table = pl.read_ndjson(file, schema=dict.fromkeys(self._own, pl.String)).select(inside)
        else:
            table = self._read_csv(inside)
        of_folders = {name: pl.lit(self.part.values[name], pl.String) for name in columns if name not in inside}
        counts = [COUNT] if COUNT in table.columns else []
        return table.with_columns(**of_folders).select(*columns, *counts)

    def _open(self) -> io.BufferedIOBase:
        """The file, unpacked as it is read; not for zstd, which the standard library does not know."""
        return gzip.open(self.part.path) if self._packed else self.part.path.open("rb")

    # --- CSV -------------------------------------------------------------------------------------------------------

    def _first_lines(self, most: int = 1) -> list[bytes]:
        """The first lines without their ends."""
        path = self.part.path
        if self._packed == "zst":
            import polars as pl

            # Polars unpacks zstd. With a separator that text does not hold, each line is the one column of a row.
            lines = pl.read_csv(
                path, n_rows=most, infer_schema=False, has_header=False, separator="\x01", quote_char=None, glob=False
            )
            return [(line or "").encode() for line in lines.to_series().to_list()]
        try:
            with self._open() as file:
                lines = [file.readline(_HEADER + 1) for _ in range(most)]
        except (EOFError, zlib.error) as error:
            raise Unsound(f"damaged: {error}") from error
        return [line for line in lines if line]

    def _csv_columns(self) -> list[str]:
        lines = self._first_lines()
        if not lines:
            raise Empty("it is empty")
        first = lines[0]
        if first.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise Unsound("its text is UTF-16; save it as UTF-8")
        if not first.strip():
            raise Unsound("it begins with an empty line")
        if len(first) > _HEADER:
            raise Unsound(f"its first line has more than {_HEADER:,} bytes")
        end = "\n"
        # Lines were split at LF, so that a CR within means lines that end in CR.
        if b"\r" in first.rstrip(b"\r\n"):
            first, end = first.partition(b"\r")[0], "\r"
        text, name = first.decode("utf-8", "replace"), self.part.path.name.lower()
        counts = {mark: text.count(mark) for mark in _SEPARATORS}
        # The name of the file outweighs what the names of its columns hold.
        if ".tsv" in name or ".tab" in name:
            counts["\t"] += 1000
        # At equal counts the mark with the lowest code is taken: tab, comma, semicolon, bar.
        separator = max(counts, key=lambda mark: (counts[mark], -ord(mark)))
        if text.count(separator) >= _MOST_COLUMNS:
            raise Unsound(f"it has more than {_MOST_COLUMNS:,} columns")
        self._separator, self._line_end = separator, end
        names = self._scan_csv().collect_schema().names()
        return names if self.header else [str(number) for number in range(1, len(names) + 1)]

    def _scan_csv(self) -> "pl.LazyFrame":
        import polars as pl

        path, separator, end = self.part.path, self._separator, self._line_end
        # All columns as text: a code such as 010 is not the number 10.
        return pl.scan_csv(
            path, separator=separator, eol_char=end, has_header=self.header, infer_schema=False, glob=False
        )

    def _read_csv(self, columns: list[str]) -> "pl.DataFrame":
        """Some columns. All are read, since only then a line with too many fields is an error."""
        import polars as pl

        scanned = self._scan_csv()
        # Without a header, polars calls the columns column_1, column_2; here they are 1, 2.
        own = scanned.collect_schema().names()
        column_of = dict(zip(self._own, own))
        chosen = []
        for name in columns:
            column = pl.col(column_of[name])
            # Where spaces surround the separators of the first line, they surround those of the others, too.
            chosen.append((column if name == name.strip() else column.str.strip_chars()).alias(name))
        others = [column for column in own if column not in {column_of[name] for name in columns}]
        # `COUNT` is 0 where none of the other fields has a value.
        count = pl.sum_horizontal(pl.col(others).is_null()) if others else pl.lit(0)
        try:
            return scanned.select(*chosen, (count - len(others)).alias(COUNT)).collect(engine="streaming")
        except pl.exceptions.PolarsError as error:
            raise self._explain(error) from error

    def _explain(self, error: Exception) -> Unsound:
        """What is wrong with a text table, by file and line where that can be found."""
        text = str(error).strip().splitlines()[0]
        if "utf-8" in text:
            return Unsound(f"{self._find_bad_text() or 'its text is not UTF-8'}; save it as UTF-8")
        if "more fields" in text:
            expected = len(self._own)
            where = self._find_long_line(expected) or "a line has more columns"
            return Unsound(f"{where}, but the first line has {expected:,}; is the end of a line lost, or a quote?")
        return Unsound(text[:200])

    def _lines(self) -> Iterator[bytes]:
        """The lines of a file; none of one that the standard library does not unpack."""
        if self._packed != "zst":
            with self._open() as file:
                yield from file

    def _find_bad_text(self) -> str | None:
        for number, line in enumerate(self._lines(), 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return f"line {number:,} is not UTF-8 ({shown(line[max(0, error.start - 10) : error.start + 10])})"
        return None

    def _find_long_line(self, expected: int) -> str | None:
        """The first line with more columns than `expected`, and how many it has, where it can be found."""
        mark = self._separator.encode()
        for number, line in enumerate(self._lines(), 1):
            # A quoted field may hold separators of its own.
            if line.count(mark) >= expected and b'"' not in line:
                carriage = " and a carriage return within" if b"\r" in line.rstrip(b"\r\n") else ""
                return f"line {number:,} has {line.count(mark) + 1:,} columns{carriage}"
        return None

    # --- NDJSON ----------------------------------------------------------------------------------------------------

    def _json_columns(self) -> list[str]:
        """The keys of the first objects; others are null where they do not occur."""
        names: dict[str, None] = {}
        lines = self._first_lines(100)
        if not lines:
            raise Empty("it is empty")
        for line in lines:
            if not line.strip() or len(line) > _HEADER:
                continue
            try:
                document = parse_json(line)
            except ValueError as error:
                raise Unsound("its first lines are no JSON objects, one a line") from error
            if not isinstance(document, dict):
                raise Unsound("its first lines are no JSON objects, one a line; a JSON array is no table")
            names |= dict.fromkeys(document)
        if not names or len(names) > _MOST_COLUMNS:
            raise Unsound(f"it has {len(names):,} keys in its first lines")
        return list(names)


def _find_packing(path: Path) -> str | None:
    """How a file is packed, by its first bytes. **Raises:** Unsound for a way that is not read."""
    with path.open("rb") as file:
        begin = file.read(4)
    packed = next((name for magic, name in _MAGIC.items() if begin.startswith(magic)), None)
    if packed == "zlib":
        raise Unsound("it is packed with zlib; pack it with gzip or zstd")
    if begin.startswith((b"PK\x03\x04", b"BZh", b"\xfd7zX")):
        raise Unsound("it is packed in another way than gzip or zstd; unpack it first")
    return packed
