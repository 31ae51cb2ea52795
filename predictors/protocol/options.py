"""Request parameters: those of the server (`method`, `probabilities`) and those of the model's signature."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from predictors.protocol.casting import described
from predictors.protocol.errors import InvalidInput


@dataclass(slots=True)
class Options:
    method: str | None = None
    probabilities: bool | None = None
    params: dict[str, Any] = field(default_factory=dict)


def read_options(parameters: Any, where: str, ignored: Iterable[str] = ()) -> Options:
    """Splits request parameters; those left over are for the model and are checked by its signature."""
    if parameters is None:
        return Options()
    if not isinstance(parameters, dict):
        raise InvalidInput(f"'{where}' must be an object, got {described(parameters)}")
    params = {name: value for name, value in parameters.items() if name not in ignored}
    method = params.pop("method", None)
    if method is not None and not isinstance(method, str):
        raise InvalidInput(f"'{where}.method' must be a string, got {described(method)}")
    probabilities = params.pop("probabilities", None)
    if probabilities is not None and not isinstance(probabilities, bool):
        raise InvalidInput(f"'{where}.probabilities' must be true or false, got {described(probabilities)}")
    return Options(method, probabilities, params)
