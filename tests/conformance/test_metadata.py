"""Health, server metadata and model metadata."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from .conftest import ServerUnderTest
from .payloads import DTYPES, ConformancePayloads, Json, json_body
from .replies import excerpt, inference, json_object, refusal, same_numbers


@pytest.fixture(scope="module")
def version(metadata: Json, target: ServerUnderTest) -> str:
    """A version that may be asked for."""
    version = target.version or next(iter(metadata.get("versions") or []), None)
    if version is None:
        pytest.skip("the server advertises no versions")
    return version


def test_server_metadata(http: httpx.Client) -> None:
    body = json_object(http.get("/v2"))
    for field in ("name", "version"):
        assert isinstance(body.get(field), str), body
        assert body[field], body
    assert isinstance(body.get("extensions"), list), body
    assert all(isinstance(extension, str) for extension in body["extensions"]), body


def test_server_is_live(http: httpx.Client) -> None:
    assert json_object(http.get("/v2/health/live")).get("live") is True


def test_server_is_ready(http: httpx.Client) -> None:
    """The protocol's text says `live` here, most servers and clients say `ready`: either, none false."""
    body = json_object(http.get("/v2/health/ready"))
    said = [body[field] for field in ("ready", "live") if field in body]
    assert said, body
    assert all(value is True for value in said), body


def test_model_is_ready(http: httpx.Client, target: ServerUnderTest) -> None:
    body = json_object(http.get(f"{target.path}/ready"))
    assert body.get("name") == target.model
    assert body.get("ready") is True


def test_model_metadata_names_the_model(metadata: Json, target: ServerUnderTest) -> None:
    assert metadata.get("name") == target.model


def test_model_metadata_has_a_platform(metadata: Json) -> None:
    assert isinstance(metadata.get("platform"), str), metadata
    assert metadata["platform"], "the platform is empty"


def test_model_metadata_lists_versions_as_strings(metadata: Json) -> None:
    versions = metadata.get("versions", [])
    assert isinstance(versions, list), f"versions is {versions!r}: leave it out"
    assert all(isinstance(version, str) and version for version in versions), versions


@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_model_metadata_describes_tensors(metadata: Json, side: str) -> None:
    tensors: Any = metadata.get(side)
    assert isinstance(tensors, list), metadata
    assert tensors, f"without {side} in the metadata no client can tell what to send or expect"
    names = [tensor.get("name") for tensor in tensors]
    assert all(isinstance(name, str) and name for name in names), names
    assert len(set(names)) == len(names), f"a name comes twice: {names}"
    for tensor in tensors:
        assert tensor.get("datatype") in DTYPES, tensor
        assert isinstance(tensor.get("shape"), list), tensor
        assert all(type(size) is int and size >= -1 for size in tensor["shape"]), tensor


def test_asked_for_version_is_advertised(metadata: Json, target: ServerUnderTest) -> None:
    if target.version is None:
        pytest.skip("needs --model-version")
    assert target.version in metadata.get("versions", [])


def test_metadata_of_a_version(http: httpx.Client, target: ServerUnderTest, metadata: Json, version: str) -> None:
    body = json_object(http.get(f"{target.path}/versions/{version}"))
    assert body == metadata


def test_readiness_of_a_version(http: httpx.Client, target: ServerUnderTest, version: str) -> None:
    assert json_object(http.get(f"{target.path}/versions/{version}/ready")).get("ready") is True


def test_inference_with_a_version(
    http: httpx.Client, target: ServerUnderTest, version: str, payloads: ConformancePayloads, metadata: Json
) -> None:
    body = json_body(payloads.rows(1))
    named = inference(http.post(f"{target.path}/versions/{version}/infer", json=body))
    assert named.body.get("model_version", version) == version
    if metadata.get("versions") == [version]:
        unnamed = inference(http.post(f"{target.path}/infer", json=body))
        same_numbers(named.outputs, unnamed.outputs)


@pytest.mark.parametrize("missing", ["/v2/models/no-such-model", "{model}/versions/no-such-version"])
def test_unknown_model_or_version_is_not_found(
    http: httpx.Client, target: ServerUnderTest, payloads: ConformancePayloads, missing: str
) -> None:
    path = missing.format(model=target.path)
    refusal(http.get(path), 404)
    refusal(http.get(f"{path}/ready"), 404)
    refusal(http.post(f"{path}/infer", json=json_body(payloads.rows(1))), 404)


def test_unknown_path_is_not_found(http: httpx.Client) -> None:
    response = http.get("/v2/no-such-path")
    assert refusal(response, 404), excerpt(response)
