"""Inference over REST with JSON tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import httpx
import numpy as np
import pytest

from .conftest import ServerUnderTest
from .payloads import ConformancePayloads, Json, RequestTensor, binary_body, json_body, row
from .replies import CLOSE, HttpReply, OutputTensor, excerpt, inference, same_numbers, strict_json

Infer = Callable[..., HttpReply]
Post = Callable[..., httpx.Response]
Headers = dict[str, str]


def test_reply_names_the_model(expected: HttpReply, target: ServerUnderTest) -> None:
    assert expected.body.get("model_name") == target.model


@pytest.mark.parametrize(("field", "kind"), [("id", str), ("model_version", str), ("parameters", dict)])
def test_optional_fields_are_left_out_rather_than_null(expected: HttpReply, field: str, kind: type) -> None:
    for part in (expected.body, *expected.body["outputs"]):
        assert field not in part or isinstance(part[field], kind), part


def test_outputs_are_those_of_the_metadata(expected: HttpReply, metadata: Json) -> None:
    described = {tensor["name"]: tensor for tensor in metadata.get("outputs") or []}
    assert set(expected.outputs) == set(described), "a request without `outputs` gets all of them"
    for name, output in expected.outputs.items():
        assert output.datatype == described[name]["datatype"], f"output {name!r}"
        shape, wanted = output.array.shape, described[name]["shape"]
        assert len(shape) == len(wanted), f"output {name!r}: {shape}, the metadata say {wanted}"
        fitting = [size in (actual, -1) for actual, size in zip(shape, wanted, strict=True)]
        assert all(fitting), f"output {name!r}: {shape}, the metadata say {wanted}"


def test_flat_data_equal_nested_data(infer: Infer, payloads: ConformancePayloads) -> None:
    tensors = payloads.rows(2)
    if all(len(tensor.shape) < 2 for tensor in tensors):
        pytest.skip("all inputs have one dimension: their data are flat")
    flat = infer(json_body(tensors, nested=False))
    same_numbers(flat.outputs, infer(json_body(tensors, nested=True)).outputs)


@pytest.mark.parametrize("request_id", ["42", 'ключ/é "quoted" \\ 1'])
def test_id_is_echoed(infer: Infer, payloads: ConformancePayloads, request_id: str) -> None:
    assert infer(json_body(payloads.rows(1), id=request_id)).body.get("id") == request_id


def test_empty_parameters_change_nothing(infer: Infer, payloads: ConformancePayloads, expected: HttpReply) -> None:
    body = json_body(payloads.rows(1), parameters={})
    body["inputs"][0]["parameters"] = {}
    body["outputs"] = [{"name": name, "parameters": {}} for name in expected.outputs]
    same_numbers(infer(body).outputs, expected.outputs)


def test_inputs_are_found_by_name(infer: Infer, payloads: ConformancePayloads, expected: HttpReply) -> None:
    tensors = payloads.rows(1)
    if len(tensors) < 2:
        pytest.skip("the model has one input")
    same_numbers(infer(json_body(tensors[::-1])).outputs, expected.outputs)


def test_each_output_can_be_asked_for_alone(infer: Infer, payloads: ConformancePayloads, expected: HttpReply) -> None:
    for name, output in expected.outputs.items():
        reply = infer(json_body(payloads.rows(1), outputs=[{"name": name}]))
        same_numbers(reply.outputs, {name: output})


def test_outputs_come_in_the_order_asked_for(infer: Infer, payloads: ConformancePayloads, expected: HttpReply) -> None:
    if len(expected.outputs) < 2:
        pytest.skip("the model has one output")
    names = list(expected.outputs)[::-1]
    reply = infer(json_body(payloads.rows(1), outputs=[{"name": name} for name in names]))
    same_numbers(reply.outputs, {name: expected.outputs[name] for name in names})


def test_the_same_request_gives_the_same_numbers(infer: Infer, payloads: ConformancePayloads) -> None:
    body = json_body(payloads.rows(2))
    assert infer(body).body["outputs"] == infer(body).body["outputs"]


def per_row(outputs: Mapping[str, OutputTensor], metadata: Json) -> dict[str, OutputTensor]:
    """The outputs that have a row for each row of the inputs, which a leading -1 says."""
    first = {tensor["name"]: tensor["shape"][:1] for tensor in metadata.get("outputs") or []}
    rows = {name: output for name, output in outputs.items() if first.get(name, [-1]) == [-1]}
    if not rows:
        pytest.skip("no output has a row for each row of the inputs")
    return rows


@pytest.mark.parametrize("count", [2, 5, 33])
def test_batch_equals_its_rows_alone(infer: Infer, batches: ConformancePayloads, metadata: Json, count: int) -> None:
    tensors = batches.rows(count)
    whole = per_row(infer(json_body(tensors)).outputs, metadata)
    for name, output in whole.items():
        assert output.array.shape[:1] == (count,), f"output {name!r}: {count} rows went in"
    for index in sorted({0, 1, count // 2, count - 1}):
        alone = infer(json_body(row(tensors, index))).outputs
        part = {name: replace(one, array=one.array[index : index + 1]) for name, one in whole.items()}
        same_numbers(part, {name: alone[name] for name in part}, CLOSE)


def test_requests_at_once_are_not_mixed_up(
    infer: Infer, infer_at_once: Callable[[Sequence[Json]], list[HttpReply]], batches: ConformancePayloads
) -> None:
    """A server that gathers requests into batches gives each caller its own row and id back."""
    tensors = batches.rows(16)
    alone = [infer(json_body(row(tensors, index))).outputs for index in range(16)]
    bodies = [json_body(row(tensors, index % 16), id=f"request-{index}") for index in range(64)]
    for index, reply in enumerate(infer_at_once(bodies)):
        assert reply.body.get("id") == f"request-{index}"
        same_numbers(reply.outputs, alone[index % 16], CLOSE)


def test_a_batch_of_no_rows_is_answered_or_refused(post: Post, batches: ConformancePayloads, metadata: Json) -> None:
    """Either is fair; a crash is not."""
    response = post(json_body([replace(tensor, array=tensor.array[:0]) for tensor in batches.rows(1)]))
    assert response.status_code in (200, 400), excerpt(response)
    if response.status_code == 200:
        outputs = per_row(inference(response).outputs, metadata)
        assert all(output.array.size == 0 for output in outputs.values())


@pytest.mark.parametrize("headers", [
    {"content-type": "application/json; charset=utf-8"},
    {"content-type": "application/json;charset=UTF-8"},
    {"content-type": "Application/JSON"},
    {},
], ids=["charset", "charset without a space", "upper case", "none"])  # fmt: skip
def test_content_types_of_json(
    infer: Infer, payloads: ConformancePayloads, expected: HttpReply, headers: Headers
) -> None:
    """Well-known clients send no content type at all."""
    same_numbers(infer(json_body(payloads.rows(1)), headers).outputs, expected.outputs)


def with_value(tensor: RequestTensor, number: float) -> RequestTensor:
    return replace(tensor, array=np.full_like(tensor.array, number))


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_replies_to_nan_and_infinity_are_json(post: Post, payloads: ConformancePayloads, number: float) -> None:
    """Only binary tensors can bring them. What the model makes of them is its affair."""
    tensors = payloads.rows(1)
    if not any(tensor.datatype.startswith("FP") for tensor in tensors):
        pytest.skip("the model has no floating-point input")
    changed = [with_value(one, number) if one.datatype.startswith("FP") else one for one in tensors]
    body = strict_json(post(*binary_body(changed)).content)
    assert "error" in body or "outputs" in body, body
