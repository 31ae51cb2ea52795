"""A model that answers with what it was handed: two servers that hand it the same give the same answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.zoo.python import model, save

DESCRIBE = """
def shown(value):
    if isinstance(value, pd.DataFrame):
        cells = {str(name): [shown(cell) for cell in value[name].tolist()] for name in value}
        return {"frame": cells, "dtypes": [str(kind) for kind in value.dtypes]}
    if isinstance(value, np.ndarray):
        return {"array": str(value.dtype), "shape": list(value.shape), "cells": shown(value.tolist())}
    if isinstance(value, dict):
        return {str(name): shown(value[name]) for name in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [shown(item) for item in value]
    value = value.item() if isinstance(value, np.generic) else value
    return f"{type(value).__name__} {value!r}"

return [repr({"input": shown(model_input), "params": params})]
"""


def save_echo(folder: Path, inputs: Any = None, params: Any = None, outputs: Any = None) -> None:
    from mlflow.models import ModelSignature

    nothing = inputs is None and params is None
    signature = None if nothing else ModelSignature(inputs=inputs, outputs=outputs, params=params)
    save(folder, model(DESCRIBE), signature=signature)
