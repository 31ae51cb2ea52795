"""The binary tensor data extension of REST."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from .payloads import ConformancePayloads, array_of, binary_body, json_body
from .replies import HttpReply, json_object, same_numbers

Infer = Callable[..., HttpReply]
BINARY_REPLY: dict[str, Any] = {"parameters": {"binary_data_output": True}}


def kinds(reply: HttpReply) -> dict[str, bool]:
    """Which outputs came in binary form."""
    return {name: output.binary for name, output in reply.outputs.items()}


def asked(binary: dict[str, bool]) -> list[dict[str, Any]]:
    return [{"name": name, "parameters": {"binary_data": flag}} for name, flag in binary.items()]


def test_extension_is_advertised(http: httpx.Client) -> None:
    assert "binary_tensor_data" in json_object(http.get("/v2")).get("extensions", [])


def test_json_in_json_out_is_the_default(expected: HttpReply) -> None:
    assert not any(kinds(expected).values())


def test_binary_in_json_out(infer: Infer, payloads: ConformancePayloads, expected: HttpReply) -> None:
    reply = infer(*binary_body(payloads.rows(1)))
    assert not any(kinds(reply).values())
    same_numbers(reply.outputs, expected.outputs)


def test_json_in_binary_out(infer: Infer, payloads: ConformancePayloads, expected: HttpReply) -> None:
    reply = infer(json_body(payloads.rows(1), **BINARY_REPLY))
    assert all(kinds(reply).values())
    same_numbers(reply.outputs, expected.outputs)


def test_binary_in_binary_out(infer: Infer, payloads: ConformancePayloads, expected: HttpReply) -> None:
    reply = infer(*binary_body(payloads.rows(1), **BINARY_REPLY))
    assert all(kinds(reply).values())
    same_numbers(reply.outputs, expected.outputs)


def test_batches_give_the_same_numbers_four_ways(infer: Infer, batches: ConformancePayloads) -> None:
    tensors = batches.rows(5)
    plain = infer(json_body(tensors))
    for reply in (
        infer(json_body(tensors, **BINARY_REPLY)),
        infer(*binary_body(tensors)),
        infer(*binary_body(tensors, **BINARY_REPLY)),
    ):
        same_numbers(reply.outputs, plain.outputs)


def test_id_comes_back_in_a_binary_reply(infer: Infer, payloads: ConformancePayloads) -> None:
    assert infer(*binary_body(payloads.rows(1), id="42", **BINARY_REPLY)).body.get("id") == "42"


@pytest.mark.parametrize("side", [0, 1])
def test_json_beside_binary_inputs(infer: Infer, payloads: ConformancePayloads, expected: HttpReply, side: int) -> None:
    tensors = payloads.rows(1)
    if len(tensors) < 2:
        pytest.skip("the model has one input")
    in_json = [tensor.name for tensor in tensors[side::2]]
    same_numbers(infer(*binary_body(tensors, in_json)).outputs, expected.outputs)


def test_header_length_where_all_is_json(infer: Infer, payloads: ConformancePayloads, expected: HttpReply) -> None:
    tensors = payloads.rows(1)
    body, headers = binary_body(tensors, in_json=[tensor.name for tensor in tensors])
    assert headers["inference-header-content-length"] == str(len(body))
    same_numbers(infer(body, headers).outputs, expected.outputs)


def test_binary_data_is_asked_for_per_output(infer: Infer, payloads: ConformancePayloads, expected: HttpReply) -> None:
    """Each output in turn comes in binary form, the others in JSON."""
    for chosen in expected.outputs:
        wanted = {name: name == chosen for name in expected.outputs}
        reply = infer(json_body(payloads.rows(1), outputs=asked(wanted)))
        assert kinds(reply) == wanted
        same_numbers(reply.outputs, expected.outputs)


def test_the_output_has_the_last_word(infer: Infer, payloads: ConformancePayloads, expected: HttpReply) -> None:
    """`binary_data: false` of an output wins over `binary_data_output: true` of the request."""
    wanted = dict.fromkeys(expected.outputs, False)
    reply = infer(json_body(payloads.rows(1), outputs=asked(wanted), **BINARY_REPLY))
    assert kinds(reply) == wanted
    same_numbers(reply.outputs, expected.outputs)


def test_outputs_without_a_word_follow_the_request(
    infer: Infer, payloads: ConformancePayloads, expected: HttpReply
) -> None:
    outputs = [{"name": name} for name in expected.outputs]
    reply = infer(json_body(payloads.rows(1), outputs=outputs, **BINARY_REPLY))
    assert all(kinds(reply).values())
    same_numbers(reply.outputs, expected.outputs)


def test_lengths_of_bytes_count_bytes(infer: Infer, payloads: ConformancePayloads) -> None:
    """Text of one, two, three and four bytes a character, the empty text among it."""
    tensors = payloads.rows(4)
    if not any(tensor.datatype == "BYTES" for tensor in tensors):
        pytest.skip("the model has no BYTES input")
    if payloads.sample:
        pytest.skip("a sample is given: the model may not take other text")
    texts = ["a", "é", "", "漢字 𝄞"]
    changed = [
        replace(t, array=array_of([texts[i % 4] for i in range(t.array.size)], "BYTES", t.shape))
        if t.datatype == "BYTES" else t
        for t in tensors
    ]  # fmt: skip
    plain = infer(json_body(changed))
    same_numbers(infer(*binary_body(changed)).outputs, plain.outputs)
    same_numbers(infer(*binary_body(changed, **BINARY_REPLY)).outputs, plain.outputs)
