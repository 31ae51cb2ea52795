"""Tables in files: what reading would take is known before it is read, and a table that does not fit is not read."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictors.protocol.csv_table import decode_csv
from predictors.protocol.errors import InvalidInput, TooLarge
from predictors.protocol.parquet_layout import pages
from predictors.protocol.parquet_table import decode_parquet, unfolded_size
from predictors.protocol.tables import ANY, MAX_COLUMNS, TableColumns

MAX_SIZE = 16 * 2**20


def parquet(columns: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, **{"compression": "zstd", **options})
    return file.getvalue()


# -- CSV --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n1,2\n", {"a": [1], "b": [2]}),
        ("\n \r\n a,b\r\n\r\n1,2\r\n\n3,4", {" a": [1, 3], "b": [2, 4]}),
        ("\ufeffa,b\n1,2\n", {"a": [1], "b": [2]}),
        ('"a,\n""x""",b\n"1","2"\n', {'a,\n"x"': [1], "b": [2]}),
        ('a"b,c\n1,"x"y\n', {'a"b': [1], "c": ["xy"]}),
        ("a,\n1,2\n", {"a": [1], "Unnamed: 1": [2]}),
        ("a,a\n1,2\n", {"a": [1], "a.1": [2]}),
        ("a,b\n1\n", {"a": [1], "b": [np.nan]}),
    ],
)
def test_csv_as_pandas_reads_it(text: str, expected: dict[str, Any]) -> None:
    columns = decode_csv(text.encode()).columns or {}
    pd.testing.assert_frame_equal(pd.DataFrame(columns), pd.DataFrame(expected))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot be read as CSV"),
        ("\n \n", "cannot be read as CSV"),
        ("a,b", "has no rows"),
        ("a,b\n\n \n", "has no rows"),
        ('"' * 100, "has no rows"),
        ("a\n1,2\n", "more values than its header"),
        ("a\n" + "1," * 50_000, "more than 10000 columns"),
        ('a\n"', "cannot be read as CSV"),
        ("a," * MAX_COLUMNS + "a\n1", "more than 10000 columns"),
        (",".join(f"k{i}" for i in range(1000)) + "\n1" * 1500, "most of its 1500 rows have fewer values"),
        ('"a\n"' + ",k" * 1000 + "\n1" * 1500, "most of its 1500 rows have fewer values"),
        ("a" + ',"' * 2000 + "\n1" * 1500, ""),
    ],
)
def test_csv_that_is_refused(text: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        decode_csv(text.encode())


def test_newlines_in_the_cells_of_a_csv_are_no_rows() -> None:
    names = ",".join(f"k{i}" for i in range(100))
    cell = '"' + "\n" * 50_000 + '"'
    columns = decode_csv(f"{names}\n{cell}{',1' * 99}\n".encode()).columns or {}
    assert len(columns) == 100
    assert len(columns["k0"]) == 1


def test_many_rows_of_a_csv() -> None:
    text = "a,b,c,d,e,f\r\n" + "1,2,3,4,5,6\r\n" * 800_000
    assert len((decode_csv(text.encode()).columns or {})["f"]) == 800_000


def test_as_many_columns_as_the_model_has() -> None:
    text = "a," * MAX_COLUMNS + "a\n" + "1," * MAX_COLUMNS + "1\n"
    assert len(decode_csv(text.encode(), TableColumns(most=MAX_COLUMNS + 1)).columns or {}) == MAX_COLUMNS + 1


class NotThese(InvalidInput):
    pass


def refuse(names: Iterable[str]) -> list[str]:
    raise NotThese(str(list(names)))


def test_names_are_checked_before_values() -> None:
    columns = TableColumns(select=refuse)
    with pytest.raises(NotThese, match="b"):
        decode_csv(b"b\nnot,right\n"[:4], columns)
    body = bytearray(parquet({"b": [1.0] * 1000}, compression="none", use_dictionary=False))
    body[100:4000] = bytes(3900)
    with pytest.raises(NotThese, match="b"):
        unfolded_size(bytes(body), columns, MAX_SIZE)


# -- Parquet ----------------------------------------------------------------------------------------------------------

TEXT = "x" * 100_000
ROWS = 3_000_000
ONE_TEXT = pa.DictionaryArray.from_arrays(pa.array(np.zeros(2000, np.int32)), pa.array([TEXT]))
BOMBS: dict[str, Any] = {
    "rows": pa.array(np.zeros(ROWS)),
    "small rows": pa.array(np.zeros(ROWS, np.int8)),
    "nulls": pa.nulls(ROWS, pa.float64()),
    "flags": pa.array(np.zeros(ROWS, bool)),
    "texts": ONE_TEXT.cast(pa.string()),
    "categories": ONE_TEXT,
    "binary": ONE_TEXT.cast(pa.binary()),
    "lists": pa.array([[0.0] * ROWS]),
    "lists of texts": pa.array([[TEXT] * 300]),
    "structures": pa.array([{"a": {"b": TEXT}}] * 300),
    "maps": pa.array([[("key", TEXT)]] * 300, pa.map_(pa.string(), pa.string())),
    "bytes of one length": pa.array([bytes(100_000)] * 300, pa.binary(100_000)),
}
WRITERS: dict[str, dict[str, Any]] = {
    "as pyarrow writes it": {},
    "without dictionaries": {"use_dictionary": False},
    "with pages of version 2": {"data_page_version": "2.0"},
    "in many row groups": {"row_group_size": 50},
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_unfolds(name: str, writer: str) -> None:
    options = WRITERS[writer]
    if len(BOMBS[name]) == ROWS and "row_group_size" in options:
        options = {"row_group_size": 500_000}
    body = parquet({"a": BOMBS[name]}, **options)
    assert len(body) < MAX_SIZE / 4
    before = pa.total_allocated_bytes()
    with pytest.raises(TooLarge, match="once it is read"):
        unfolded_size(body, ANY, MAX_SIZE)
    assert pa.total_allocated_bytes() <= before


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_texts_that_repeat_the_one_before(encoding: str) -> None:
    options = {"use_dictionary": False, "column_encoding": {"a": encoding}}
    with pytest.raises(TooLarge):
        unfolded_size(parquet({"a": BOMBS["texts"]}, **options), ANY, MAX_SIZE)
    assert unfolded_size(parquet({"a": ["a", "ab", "abc"]}, **options), ANY, MAX_SIZE) < 1000


@pytest.mark.parametrize("writer", WRITERS)
def test_what_a_file_takes(writer: str) -> None:
    """About what its values take: a file within the limit is never refused."""
    words = [f"word {i % 1000}" * 10 for i in range(20_000)]
    table = {"a": np.arange(20_000.0), "b": words, "c": [["x", word] for word in words], "d": [1, None] * 10_000}
    size = unfolded_size(parquet(table, **WRITERS[writer]), ANY, MAX_SIZE)
    assert 0.9 < size / pa.table(table).nbytes < 2.5


def test_a_footer_that_lies() -> None:
    """The pages tell how many values there are."""
    body = parquet({"a": np.zeros(ROWS)}, row_group_size=ROWS)
    footer = len(body) - 8 - int.from_bytes(body[-8:-4], "little")
    lie = body[:footer] + body[footer:].replace(zigzag(ROWS), zigzag(ROWS // 2))
    assert pq.ParquetFile(pa.BufferReader(lie)).metadata.row_group(0).column(0).num_values == ROWS // 2
    with pytest.raises(TooLarge, match=str(8 * ROWS)):
        unfolded_size(lie, ANY, MAX_SIZE)


def zigzag(number: int) -> bytes:
    return varint(2 * number)


def varint(number: int) -> bytes:
    return varint_tail(number) if number < 128 else bytes([number & 0x7F | 0x80]) + varint(number >> 7)


def varint_tail(number: int) -> bytes:
    return bytes([number])


def nested_file(depth: int, columns: int = 1, name: bytes = b"a") -> bytes:
    """A Parquet file without rows."""
    names = b"\x18" + varint(len(name)) + name
    group = b"\x35\x02" + names + b"\x15"
    leaf = b"\x15\x0a\x25\x02" + names + b"\0"
    root = b"\x48\x04root\x15\x02\0"
    schema = root + (group + zigzag(1) + b"\0") * (depth - 1) + group + zigzag(columns) + b"\0" + leaf * columns
    footer = b"\x15\x04\x19\xfc" + varint(1 + depth + columns) + schema + b"\x16\0\x19\x0c\0"
    return b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def test_a_schema_that_no_library_survives() -> None:
    assert unfolded_size(nested_file(20), ANY, MAX_SIZE) == 0
    for depth in (40, 9_000):
        with pytest.raises(InvalidInput, match="nested too deeply"):
            unfolded_size(nested_file(depth), ANY, MAX_SIZE)
    with pytest.raises(InvalidInput, match="more than 10000 columns"):
        unfolded_size(nested_file(100_000), ANY, MAX_SIZE)
    with pytest.raises(InvalidInput, match="too long names"):
        unfolded_size(nested_file(1, columns=5_000, name=b"a" * 10_000), ANY, MAX_SIZE)


def test_a_schema_behind_another() -> None:
    """The last one counts, wherever it is."""
    good, bad = nested_file(1), nested_file(9_000)
    footer = good[4:-9] + b"\x29" + bad[7:-13].partition(b"\x19")[2] + b"\0"
    body = b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1"
    with pytest.raises(InvalidInput):
        unfolded_size(body, ANY, MAX_SIZE)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_broken_file_is_refused(data: st.DataObject) -> None:
    body = bytearray(SMALL_FILE)
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(body)))
    for broken in (bytes(body), bytes(body[:cut]), bytes(body[cut:])):
        with contextlib.suppress(InvalidInput, TooLarge):
            unfolded_size(broken, ANY, MAX_SIZE)
            decode_parquet(broken)


SMALL_FILE = parquet({"a": [1.0, None, 2.0], "b": ["x", "y", "x"], "c": [[1], [], [2, 3]]})


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 30_000),
    version=st.sampled_from(["1.0", "2.0"]),
    dictionary=st.booleans(),
    page=st.sampled_from([100, 10_000, 1_000_000]),
    compression=st.sampled_from(["none", "snappy", "gzip", "zstd", "lz4", "brotli"]),
)
def test_pages_are_what_the_footer_says(rows: int, version: str, dictionary: bool, page: int, compression: str) -> None:
    table = {"a": np.arange(rows) % 1000, "b": [f"text {i % 10}" if i % 3 else None for i in range(rows)]}
    options: dict[str, Any] = {"data_page_version": version, "use_dictionary": dictionary, "data_page_size": page}
    body = parquet(table, compression=compression, **options)
    group = pq.ParquetFile(pa.BufferReader(body)).metadata.row_group(0)
    for i in range(2):
        chunk = group.column(i)
        start = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
        actual = list(pages(body, start, chunk.total_compressed_size))
        assert sum(one.values for one in actual) == chunk.num_values
        assert sum(one.size for one in actual) <= chunk.total_uncompressed_size
        assert [one.is_dictionary for one in actual].count(True) == chunk.has_dictionary_page


def test_an_index_is_no_column() -> None:
    frame, file = pd.DataFrame({"x": [1.5, 2.5], "y": ["a", None]}, index=pd.Index([5, 7], name="row")), io.BytesIO()
    frame.to_parquet(file)
    with pytest.raises(NotThese, match=r"\['x', 'y'\]"):
        unfolded_size(file.getvalue(), TableColumns(select=refuse), MAX_SIZE)
    assert list(decode_parquet(file.getvalue()).columns or {}) == ["x", "y"]


@pytest.mark.parametrize("changed", range(-700, -8, 3))
def test_a_footer_of_which_a_byte_is_wrong(changed: int) -> None:
    """pyarrow ends the process where it looks at some of them by itself."""
    body = bytearray(SMALL_FILE)
    body[changed] ^= 2
    with contextlib.suppress(InvalidInput, TooLarge):
        unfolded_size(bytes(body), ANY, MAX_SIZE)
        decode_parquet(bytes(body))


def test_columns_of_one_name() -> None:
    with pytest.raises(InvalidInput, match="several columns of one name|cannot be read"):
        decode_parquet(parquet(pa.table([[1], [2]], ["a", "a"])))
