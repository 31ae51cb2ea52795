"""Requests over every protocol, including invalid ones."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as services

JSON = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class Caller:
    """Sends rows of numbers to a model; each method returns whether the request succeeded."""

    url: str
    grpc: str
    model: str
    columns: tuple[str, ...]

    @property
    def protocols(self) -> dict[str, Callable[[list[list[float]]], bool]]:
        return {
            "v1": self.v1,
            "v2": self.v2,
            "v2-binary": self.binary,
            "invocations": self.invocations,
            "grpc": self.rpc,
        }

    def v1(self, rows: list[list[float]]) -> bool:
        return self.post(f"/v1/models/{self.model}:predict", {"instances": self.records(rows)})

    def v2(self, rows: list[list[float]]) -> bool:
        inputs = [
            {"name": name, "datatype": "FP64", "shape": [len(rows)], "data": [row[position] for row in rows]}
            for position, name in enumerate(self.columns)
        ]
        return self.post(f"/v2/models/{self.model}/infer", {"inputs": inputs})

    def binary(self, rows: list[list[float]]) -> bool:
        head: dict[str, Any] = {"inputs": []}
        content = b""
        for position, name in enumerate(self.columns):
            raw = struct.pack(f"<{len(rows)}d", *(row[position] for row in rows))
            size = {"binary_data_size": len(raw)}
            head["inputs"].append({"name": name, "datatype": "FP64", "shape": [len(rows)], "parameters": size})
            content += raw
        text = json.dumps(head).encode()
        headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(text))}
        return self.post(f"/v2/models/{self.model}/infer", content=text + content, headers=headers)

    def invocations(self, rows: list[list[float]]) -> bool:
        return self.post("/invocations", {"dataframe_records": self.records(rows)})

    def rpc(self, rows: list[list[float]]) -> bool:
        request = messages.ModelInferRequest(model_name=self.model)
        for position, name in enumerate(self.columns):
            added = request.inputs.add(name=name, datatype="FP64", shape=[len(rows)])
            added.contents.fp64_contents.extend(row[position] for row in rows)
        with grpc.insecure_channel(self.grpc) as channel:
            try:
                services.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=30)
            except grpc.RpcError:
                return False
        return True

    def wrong(self) -> bool:
        """Sends an invalid request."""
        return self.post(f"/v1/models/{self.model}:predict", {"instances": "none"})

    def superfluous(self, rows: list[list[float]]) -> bool:
        """Sends a column that the model does not take."""
        return self.post("/invocations", {"dataframe_records": [{**row, "note": "x"} for row in self.records(rows)]})

    def post(self, path: str, json: Any = None, **sent: Any) -> bool:
        try:
            return httpx.post(f"{self.url}{path}", json=json, timeout=30, **sent).is_success
        except httpx.TransportError:  # the server is busy, or ending
            return False

    def records(self, rows: list[list[float]]) -> list[dict[str, float]]:
        return [dict(zip(self.columns, row, strict=True)) for row in rows]
