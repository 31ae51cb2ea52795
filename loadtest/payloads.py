"""Generates requests for any served model from its `GET /schema`: varied, for every protocol, reproducible by a seed.

The values of the sample are changed a little in a way that keeps their types. Whether the model accepts them (it may
refuse an unknown category or token) is tried out in `loadtest.target`.
"""

from __future__ import annotations

import base64
import datetime
import json
import math
import random
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from loadtest.messages import messages

PROTOCOLS = ("v1", "v2", "v2-binary", "grpc", "invocations")
SAMPLE_WORDS = (
    "new",
    "old",
    "small",
    "large",
    "red",
    "green",
    "early",
    "late",
    "north",
    "south",
    "open",
    "closed",
    "first",
)
DTYPES = {
    "BOOL": "?", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q", "UINT8": "B", "UINT16": "H", "UINT32": "I",
    "UINT64": "Q", "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip
PLAIN = ("string", "datetime", "binary", "tensor")
GRPC_METHOD = "/inference.GRPCInferenceService/ModelInfer"


class NoSample(Exception):
    """The server has no sample for this protocol."""


class Vary(Enum):
    """Which values of a sample are changed."""

    ALL = "all values"
    NUMBERS = "numbers"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Payload:
    path: str
    """The path of the URL, or the gRPC method."""
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Payloads:
    """Generates requests by number; those with the same number hold the same rows in all protocols."""

    schema: Mapping[str, Any]
    rows: int = 1
    seed: int = 0
    vary: Vary = Vary.ALL

    def make(self, protocol: str, number: int) -> Payload:
        maker: Callable[[list[Any]], Payload] = {
            "v1": self._v1, "v2": self._v2, "v2-binary": self._v2_binary, "grpc": self._grpc,
            "invocations": self._invocations,
        }[protocol]  # fmt: skip
        return maker(self.instances(number))

    def instances(self, number: int) -> list[Any]:
        """The rows of request `number`."""
        known = self._sample("v1")["body"]["instances"]
        dice = random.Random(f"{self.seed} {number}")  # noqa: S311 - generated values are no secrets
        first = number * self.rows
        return [self._row(known[(first + place) % len(known)], dice) for place in range(self.rows)]

    def _sample(self, form: str) -> Mapping[str, Any]:
        sample = self.schema.get("samples", {}).get(form)
        if not sample or (form == "v1" and not sample["body"].get("instances")):
            raise NoSample(
                f"the server's /schema has no sample for {form}: log the model with an input example, "
                "or use another protocol"
            )
        return dict(sample)

    # -- values --------------------------------------------------------------------------------------------------------

    def _row(self, row: Any, dice: random.Random) -> Any:
        inputs = self.schema.get("inputs") or []
        kinds = {one["name"]: one["type"] for one in inputs}
        if isinstance(row, dict):
            return {name: self._changed(value, kinds.get(name, ""), dice) for name, value in row.items()}
        if isinstance(row, list) and len(row) == len(inputs) and inputs[0]["type"] != "tensor":
            return [self._changed(value, one["type"], dice) for value, one in zip(row, inputs, strict=True)]
        return self._changed(row, inputs[0]["type"] if inputs else "", dice)

    def _changed(self, value: Any, kind: str, dice: random.Random) -> Any:
        if self.vary is Vary.NOTHING or value is None:
            return value
        if isinstance(value, bool):
            return dice.random() < 0.5
        if isinstance(value, int):
            # Stays positive and in range: the type may be small or unsigned.
            return value + dice.randint(0, 3) if value < 10 else value - dice.randint(0, value // 4)
        if isinstance(value, float):
            # Small types have small limits: 65504 for FP16.
            most = 1.2 if abs(value) < 50_000 else 1.0
            changed = dice.gauss(0, 1) if value == 0 else value * dice.uniform(0.8, most)
            return float(f"{changed:.6g}")
        if isinstance(value, list):
            return [self._changed(one, kind, dice) for one in value]
        if isinstance(value, dict):
            return {name: self._changed(one, "", dice) for name, one in value.items()}
        if self.vary is Vary.ALL:
            return changed_text(value, kind, dice)
        return value

    # -- forms ---------------------------------------------------------------------------------------------------------

    def _v1(self, rows: list[Any]) -> Payload:
        return as_json(self._sample("v1")["path"], {"instances": rows})

    def _invocations(self, rows: list[Any]) -> Payload:
        sample = self._sample("invocations")
        for key in ("dataframe_records", "inputs"):
            if sample["body"].keys() == {key}:
                return as_json(sample["path"], {key: rows})
        return as_json(sample["path"], rows[0])  # a bare request of a chat model or agent

    def _v2(self, rows: list[Any]) -> Payload:
        tensors = [tensor.head | {"data": tensor.data} for tensor in self._tensors(rows)]
        return as_json(self._sample("v2")["path"], {"inputs": tensors})

    def _v2_binary(self, rows: list[Any]) -> Payload:
        heads, raws = [], []
        for tensor in self._tensors(rows):
            raws.append(tensor.raw())
            heads.append(tensor.head | {"parameters": {"binary_data_size": len(raws[-1])}})
        header = dumped({"inputs": heads, "parameters": {"binary_data_output": True}})
        headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(header))}
        return Payload(self._sample("v2")["path"], header + b"".join(raws), headers)

    def _grpc(self, rows: list[Any]) -> Payload:
        request = messages().ModelInferRequest(model_name=self.schema["model_name"])
        for tensor in self._tensors(rows):
            request.inputs.add(**tensor.head)
            request.raw_input_contents.append(tensor.raw())
        return Payload(GRPC_METHOD, request.SerializeToString())

    def _tensors(self, rows: list[Any]) -> list[PayloadTensor]:
        known = self._sample("v2")["body"]["inputs"]
        kinds = {one["name"]: one["type"] for one in self.schema.get("inputs") or []}
        tensors = []
        for place, one in enumerate(known):
            if isinstance(rows[0], dict):
                values = [row.get(one["name"]) for row in rows]
            else:
                values = rows if len(known) == 1 and isinstance(rows[0], list) != self._one_column() else [
                    row[place] if isinstance(row, list) else row for row in rows
                ]  # fmt: skip
            if one["datatype"] == "BYTES" and kinds.get(one["name"], "string") not in PLAIN:
                values = [json.dumps(value) for value in values]  # nested types are sent as JSON text
            tensors.append(PayloadTensor(one["name"], one["datatype"], values, kinds.get(one["name"]) == "binary"))
        return tensors

    def _one_column(self) -> bool:
        """Whether each row is a list with the value of the only column."""
        inputs = self.schema.get("inputs") or []
        return len(inputs) == 1 and inputs[0]["type"] != "tensor"


@dataclass(frozen=True, slots=True)
class PayloadTensor:
    name: str
    datatype: str
    values: list[Any]
    base64: bool

    @property
    def head(self) -> dict[str, Any]:
        return {"name": self.name, "shape": shape_of(self.values), "datatype": self.datatype}

    @property
    def data(self) -> list[Any]:
        return flat(self.values)

    def raw(self) -> bytes:
        """The encoding of the binary extension and of raw_input_contents."""
        if self.datatype != "BYTES":
            data = [math.nan if value is None else value for value in self.data]
            return struct.pack(f"<{len(data)}{DTYPES[self.datatype]}", *data)
        texts = [base64.b64decode(text) if self.base64 else str(text).encode() for text in self.data]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def changed_text(text: str, kind: str, dice: random.Random) -> str:
    """The text or time with a change; text of other kinds stays as it is."""
    if kind == "string":
        return f"{text} {' '.join(dice.sample(SAMPLE_WORDS, dice.randint(1, 4)))}"
    if kind == "datetime":
        try:
            moment = datetime.datetime.fromisoformat(text)
        except ValueError:
            return text
        return (moment - datetime.timedelta(hours=dice.randint(0, 24 * 30))).isoformat()
    return text


def as_json(path: str, value: Any) -> Payload:
    return Payload(path, dumped(value), {"Content-Type": "application/json"})


def dumped(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def shape_of(values: Any) -> list[int]:
    shape = []
    while isinstance(values, list):
        shape.append(len(values))
        values = values[0] if values else None
    return shape


def flat(values: Any) -> list[Any]:
    return [leaf for value in values for leaf in flat(value)] if isinstance(values, list) else [values]
