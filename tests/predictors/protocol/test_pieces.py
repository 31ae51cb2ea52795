"""Large requests and replies, which are read and written in pieces: the values are those of the whole."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictors.protocol import casting, json_pieces, jsontext, results
from predictors.protocol.errors import InvalidInput

TEXTS = st.text('ab",\\[]{}:é\n', max_size=60)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**6), 10**6), st.floats(allow_nan=False, allow_infinity=False), TEXTS
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=8), st.dictionaries(TEXTS, inner, max_size=6)),
    max_leaves=60,
)
DAMAGE = st.lists(st.tuples(st.integers(0), st.sampled_from(b',[]{}":\\ 1\xff'), st.sampled_from("rid")), max_size=2)


NOT_UTF_8 = "not UTF-8"


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_pieces, "PIECE", 24)
    monkeypatch.setattr(jsontext, "LARGE", 64)
    monkeypatch.setattr(jsontext, "BLOCK", 10)
    monkeypatch.setattr(casting, "BLOCK", 10)


def damaged(text: bytes, damage: list[tuple[int, int, str]]) -> bytes:
    for place, byte, how in damage:
        at = place % len(text)
        text = text[:at] + (b"" if how == "d" else bytes([byte])) + text[at + (how != "i") :] or b" "
    return text


def outcome(parse: Any, text: bytes) -> tuple[Any, Any]:
    """The value as JSON, or where the error is."""
    try:
        return orjson.dumps(parse(text)), None
    except orjson.JSONDecodeError as error:
        return None, (error.lineno, error.colno) if error.doc else NOT_UTF_8


@given(value=VALUES, indent=st.sampled_from([None, 1]), ascii_only=st.booleans(), damage=DAMAGE)
def test_json_is_parsed_as_in_one_piece(value: Any, indent: int | None, ascii_only: bool, damage: Any) -> None:
    text = damaged(
        json.dumps({"key": value, "list": [value, value]}, indent=indent, ensure_ascii=ascii_only).encode(), damage
    )
    whole = outcome(orjson.loads, text)
    found = outcome(lambda body: json_pieces.parse_in_pieces(body, orjson.loads), text)
    assert found == whole or (found[0] is None and whole[1] == NOT_UTF_8)  # there may be an error before


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":[1,2,3,4,5,6,7,8,9,10,11,],"b":1}',
        b'{"a":[,1,2,3,4,5,6,7,8,9,10,11],"b":1}',
        b'{"a":[1,2,3,4,5,6,7,8,9,10,11]},{"b":1}',
        b'{"a":1,"b":2,"c":3,"d":4,"e":5},',
        b'{"a":1,"b":2,"c":3,"d":4,"e":5,}',
        b'{"a":[1,2,3,4,5,6,7,8,9,10,11},"b":1]',
        b'{"a":1,"b":2,"c":3,"d":4,"e":5,"f":[6',
        b'{"a":[1,2,3,4],"b":2,"a":[5,6,7,8,9,10,11,12,13,14,15,16]}',
        b'{"a,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,":[",,\\",,,,,,,,,,,,,,,,,,,,,,,\\\\",1]}',
        b"[" * 60 + b"1,2" + b"]" * 60,
    ],
)
def test_json_at_its_edges(text: bytes) -> None:
    whole = outcome(orjson.loads, text)
    assert outcome(lambda body: json_pieces.parse_in_pieces(body, orjson.loads), text) == whole


def test_a_body_with_literals_that_are_not_json() -> None:
    body = b'{"rows": [' + b"[1.5, NaN, Infinity], " * 20 + b"[1, 2, 3]]}"
    assert str(jsontext.parse_object(body, nonfinite=True)) == str(json.loads(body))
    with pytest.raises(InvalidInput, match="line 1, column 1.*JSON has no NaN"):
        jsontext.parse_object(body)


@given(st.lists(st.one_of(st.integers(-(2**70), 2**70), st.floats(), st.booleans()), min_size=1, max_size=45))
def test_numbers_are_converted_as_in_one_piece(values: list[Any]) -> None:
    def tried(convert: Any) -> Any:
        try:
            array = convert(values)
        except (TypeError, OverflowError) as error:
            return type(error)
        return array.dtype, array.tolist() if array.dtype.kind == "O" else array.tobytes()

    assert tried(casting.array_of) == tried(np.array)
    assert casting.types_of(values) == set(map(type, values))
    plain = [value for value in values if abs(value) < 2**60 or value != value]
    packed = casting.pack_doubles(iter(plain), len(plain))
    assert packed.tobytes() == np.array(plain, np.float64).tobytes()
    with pytest.raises(TypeError):
        casting.pack_doubles(iter([*plain, "text"]), len(plain) + 1)
    with pytest.raises(TypeError):
        casting.pack_doubles(iter([*plain, 1.0]), len(plain))


@pytest.mark.parametrize("shape", [(9,), (11,), (20,), (21,), (3, 4), (1, 30), (30, 1), (2, 30, 2), (0, 4), (2, 0)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.uint8, np.bool_])
def test_arrays_are_written_as_in_one_piece(shape: tuple[int, ...], dtype: Any) -> None:
    array = (np.arange(np.prod(shape)) / 3).reshape(shape).astype(dtype)
    wide = array.astype(np.float64) if dtype is np.float32 else array
    written = jsontext.dump({"predictions": results.jsonable(array), "more": [results.jsonable(array)]})
    text = orjson.dumps(wide, option=orjson.OPT_SERIALIZE_NUMPY)
    assert written == b'{"predictions":%b,"more":[%b]}' % (text, text)
