"""Request parameters: the server's own (`method`, `probabilities`) and the model's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from predictors.protocol.casting import json_type
from predictors.protocol.errors import InvalidInput


@dataclass(slots=True)
class Options:
    method: str | None = None
    probabilities: bool | None = None
    params: dict[str, Any] = field(default_factory=dict)


def read_options(parameters: Any, where: str, ignored: Iterable[str] = ()) -> Options:
    """The parameters of a request. Those that are not the server's go to `params`, which the signature checks."""
    if parameters is None:
        return Options()
    if not isinstance(parameters, dict):
        raise InvalidInput(f"'{where}' must be an object, got {json_type(parameters)}")
    params = {name: value for name, value in parameters.items() if name not in ignored}
    method = params.pop("method", None)
    if method is not None and not isinstance(method, str):
        raise InvalidInput(f"'{where}.method' must be a string, got {json_type(method)}")
    probabilities = params.pop("probabilities", None)
    if probabilities is not None and not isinstance(probabilities, bool):
        raise InvalidInput(f"'{where}.probabilities' must be true or false, got {json_type(probabilities)}")
    return Options(method, probabilities, params)
