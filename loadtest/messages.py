"""KServe's gRPC messages, loaded without importing KServe, which would parse the command line as its own."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from typing import Any

NAME = "kserve.protocol.grpc.grpc_predict_v2_pb2"


@cache
def messages() -> Any:
    if NAME in sys.modules:
        return sys.modules[NAME]
    package = importlib.util.find_spec("kserve")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("the package kserve is needed for gRPC")
    file = Path(package.origin).parent / "protocol" / "grpc" / "grpc_predict_v2_pb2.py"
    spec = importlib.util.spec_from_file_location("loadtest_messages", file)
    assert spec is not None  # noqa: S101 - it is the file of an installed package
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
