"""The caller's mistakes over gRPC: the right status and a reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .conftest import TIMEOUT, ServerUnderTest
from .grpc_messages import Requests
from .payloads import ConformancePayloads, Json

grpc = pytest.importorskip("grpc", reason="needs grpcio: pip install grpcio")


def refusal(status: str, call: Callable[..., Any], request: Any) -> None:
    """The call fails with this status and a reason that shows nothing of the server's inside."""
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=TIMEOUT)
    code, details = caught.value.code().name, caught.value.details()
    assert code == status, f"expected {status}: {code} {details!r}"
    assert details.strip(), "the error says nothing"
    assert "Traceback" not in details


UNKNOWN = [{"name": "no-such-model"}, {"version": "no-such-version"}]


@pytest.mark.parametrize("unknown", UNKNOWN, ids=["model", "version"])
@pytest.mark.parametrize("method", ["ModelReady", "ModelMetadata", "ModelInfer"])
def test_unknown_model_or_version_is_not_found(
    stub: Any,
    pb: Any,
    requests: Requests,
    target: ServerUnderTest,
    payloads: ConformancePayloads,
    unknown: Json,
    method: str,
) -> None:
    named = {"name": target.model, **unknown}
    if method == "ModelInfer":
        members = {f"model_{member}": value for member, value in named.items()}
        request = requests.raw(payloads.rows(1), **members)
    else:
        request = getattr(pb, f"{method}Request")(**named)
    refusal("NOT_FOUND", getattr(stub, method), request)


def no_inputs(request: Any) -> None:
    del request.inputs[:]
    del request.raw_input_contents[:]


def unnamed(request: Any) -> None:
    request.inputs[0].name = ""


def misnamed(request: Any) -> None:
    request.inputs[0].name = "no_such_input"


def duplicated(request: Any) -> None:
    request.inputs.append(request.inputs[0])
    request.raw_input_contents.append(request.raw_input_contents[0])


def extra(request: Any) -> None:
    duplicated(request)
    request.inputs[-1].name = "no_such_input"


def mistyped(request: Any) -> None:
    request.inputs[0].datatype = "FLOAT"


def negative(request: Any) -> None:
    request.inputs[0].shape[:] = [-1]


def overflowing(request: Any) -> None:
    """The product of the shape is 0 in 64-bit arithmetic: it seems to agree with no data."""
    request.inputs[0].shape[:] = [2**32, 2**32]
    request.raw_input_contents[0] = b""


def raw_too_short(request: Any) -> None:
    request.raw_input_contents[-1] = request.raw_input_contents[-1][:-1]


def raw_too_long(request: Any) -> None:
    request.raw_input_contents[-1] += b"\0"


def raw_for_another_shape(request: Any) -> None:
    request.inputs[0].shape[:] = [*request.inputs[0].shape, 2]


def raw_missing(request: Any) -> None:
    request.raw_input_contents.pop()
    if not request.raw_input_contents:
        request.inputs.append(request.inputs[0])
        request.raw_input_contents.append(b"")


def raw_left_over(request: Any) -> None:
    request.raw_input_contents.append(b"")


def raw_and_typed(request: Any) -> None:
    request.inputs[0].contents.fp64_contents.append(1)


def unknown_output(request: Any) -> None:
    request.outputs.add(name="no_such_output")


RAW_MISTAKES = [
    no_inputs, unnamed, misnamed, duplicated, extra, mistyped, negative, overflowing, raw_too_short,
    raw_too_long, raw_for_another_shape, raw_missing, raw_left_over, raw_and_typed, unknown_output,
]  # fmt: skip


@pytest.mark.parametrize("change", RAW_MISTAKES, ids=[change.__name__ for change in RAW_MISTAKES])
def test_mistake_with_raw_contents(
    stub: Any, requests: Requests, payloads: ConformancePayloads, change: Callable[[Any], None]
) -> None:
    if change is misnamed and not payloads.named:
        pytest.skip("the model has no name for its input")
    request = requests.raw(payloads.rows(1))
    change(request)
    refusal("INVALID_ARGUMENT", stub.ModelInfer, request)


TYPED_MISTAKES: dict[str, tuple[str, list[int], dict[str, list[Any]]]] = {
    "too few elements": ("FP64", [1, 4], {"fp64_contents": [1, 2, 3]}),
    "too many elements": ("FP64", [1, 4], {"fp64_contents": [1, 2, 3, 4, 5]}),
    "no elements": ("FP64", [1, 4], {}),
    "no elements in a shape that overflows": ("FP64", [2**32, 2**32], {}),
    "negative shape": ("FP64", [-1, 4], {"fp64_contents": [1, 2, 3, 4]}),
    "contents of another datatype": ("INT64", [1, 4], {"fp64_contents": [1, 2, 3, 4]}),
    "contents of two datatypes": ("FP64", [1, 1], {"fp64_contents": [1], "fp32_contents": [1]}),
    "300 in INT8": ("INT8", [1, 1], {"int_contents": [300]}),
    "256 in UINT8": ("UINT8", [1, 1], {"uint_contents": [256]}),
    "FP16, which is raw only": ("FP16", [1, 1], {"fp32_contents": [1]}),
}


@pytest.mark.parametrize("mistake", TYPED_MISTAKES)
def test_mistake_with_typed_contents(
    stub: Any, requests: Requests, payloads: ConformancePayloads, mistake: str
) -> None:
    """The first input is wrong in itself, whatever the model wants."""
    datatype, shape, contents = TYPED_MISTAKES[mistake]
    first, *others = payloads.rows(1)
    request = requests.empty([first])
    request.inputs[0].datatype = datatype
    request.inputs[0].shape[:] = shape
    for field, elements in contents.items():
        getattr(request.inputs[0].contents, field).extend(elements)
    request.inputs.extend(requests.typed(others).inputs)
    refusal("INVALID_ARGUMENT", stub.ModelInfer, request)
