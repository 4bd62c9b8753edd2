"""The helper process of `tirgn_eqx.storage.table_probe`: each line on stdin names a table, each on stdout describes it.

It imports nothing of the package, so that it starts quickly.
"""

import gzip
import inspect
import json
import sys
import zlib
from typing import TypedDict

import polars as pl

SLICE = 1 << 17  # rows read at once,
SLICE_BYTES = 1 << 28  # and bytes, where a row is a long list
BROKEN = (OSError, EOFError, zlib.error, ValueError, OverflowError, MemoryError)
BELOW = 1 << 31  # bytes of memory that may be allocated after the start


class Request(TypedDict):
    """A table to read.

    `form` and `columns` are those of `table_probe.check_table`; a table with more rows, or one that takes or unpacks to
    more bytes, is refused.
    """

    path: str
    form: str
    columns: list[str] | None
    most_rows: int
    most_bytes: int


class Description(TypedDict):
    """What is in a table: the types of its columns by name, its rows, and the metadata that this package writes."""

    columns: dict[str, str]
    rows: int
    metadata: dict[str, str]


class Refusal(TypedDict):
    """Why a table is refused."""

    error: str


def limit_memory() -> None:
    """Refuse allocations far beyond what a slice of a real table needs."""
    try:
        import resource

        with open("/proc/self/statm") as file:
            # The first number of statm is the size of the address space in pages, which RLIMIT_AS limits. It counts the
            # libraries that are loaded already.
            taken = int(file.read().split()[0]) * resource.getpagesize()
        # Damaged files are expected to crash this process: write no core dump.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (taken + BELOW, taken + BELOW))
    except (ImportError, OSError, ValueError):
        pass  # without such limits, a crash still ends this process alone


def described(request: Request) -> Description | Refusal:
    """The answer about one file, after reading all of it."""
    path, form = request["path"], request["form"]
    # Python keeps bytes that are not UTF-8 as lone surrogates, which polars cannot take.
    if any("\ud800" <= letter <= "\udfff" for letter in path):
        return {"error": "its name is not UTF-8 text; rename it"}
    if form in ("gz", "zst"):
        return unpacked(path, form, request["most_bytes"])
    if form == "parquet":
        # Not `read_parquet_schema`, which takes a `*` in a name for a pattern, and then reads another file.
        scan = pl.scan_parquet(path, glob=False, hive_partitioning=False)
    elif form == "arrow":
        scan = scan_arrow(path)
    else:  # a stream has no index
        scan = pl.read_ipc_stream(path, columns=None).lazy()
    schema = scan.collect_schema()
    metadata = pl.read_parquet_metadata(path) if form == "parquet" else {}
    names = [name for name in schema if request["columns"] is None or name in request["columns"]]
    # This is the number that the file claims; its pages are not read yet.
    rows = scan.select(pl.len()).collect().item()
    if rows > request["most_rows"]:
        return {"error": f"damaged: {rows:,} rows, more than a file of this size may have"}
    size = 0
    # Slices bound the memory for tables of any length and width.
    wide = scan.select(names).head(1).collect().estimated_size() if names else 0
    step = max(1, min(SLICE, SLICE_BYTES // max(int(wide), 1)))
    for begin in range(0, rows, step):
        part = scan.select(names).slice(begin, step).collect()
        # Without columns, a slice has no height.
        if names and part.height != min(step, rows - begin):
            return {"error": f"damaged: fewer rows than the {rows:,} it says it has"}
        size += part.estimated_size()
        if size > request["most_bytes"]:
            return {
                "error": f"takes more than {request['most_bytes']:,} bytes of memory, more than a file of its size may"
            }
    return {
        "columns": {name: str(kind)[:200] for name, kind in schema.items()},
        "rows": rows,
        "metadata": {key: value for key, value in metadata.items() if key.startswith("tirgn.")},
    }


def scan_arrow(path: str) -> pl.LazyFrame:
    """Scan an Arrow file without taking its name for a pattern."""
    if "glob" in inspect.signature(pl.scan_ipc).parameters:
        return pl.scan_ipc(path, glob=False, hive_partitioning=False)
    with open(path, "rb") as file:  # older versions of polars do so
        return pl.scan_ipc(file.read())


def unpacked(path: str, form: str, most: int) -> Description | Refusal:
    """The answer about a compressed text table; `rows` is the number of bytes that it unpacks to."""
    if form == "gz":
        size = 0
        with gzip.open(path) as file:
            while size <= most and (found := len(file.read(1 << 20))):
                size += found
    else:
        # Every line is a row of one column, because no text contains the separator.
        lines = pl.scan_csv(path, has_header=False, separator="\x01", quote_char=None, infer_schema=False, glob=False)
        try:
            # Every line counts a byte for its end, so that reading can stop after `most` + 1 lines.
            length = pl.all().str.len_bytes().sum() + pl.len()
            size = lines.head(most + 1).select(length).collect(engine="streaming").item()
        except pl.exceptions.NoDataError:
            size = 0
    if size > most:
        return {"error": f"unpacks to more than {most:,} bytes"}
    return {"columns": {}, "rows": size, "metadata": {}}


def main() -> None:
    limit_memory()
    answer: Description | Refusal
    for line in sys.stdin:
        try:
            answer = described(json.loads(line))
        except (pl.exceptions.PolarsError, *BROKEN) as error:
            answer = {"error": (str(error).strip().splitlines() or [type(error).__name__])[0][:300]}
        except pl.exceptions.PanicException:  # pyright: ignore[reportUnusedExcept]
            # The state of its threads after a panic is unknown.
            print(json.dumps({"error": "damaged: its pages do not hold what its footer says"}), flush=True)
            return
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
