"""PyTorch networks without what MLflow, and the checks of an exported program, do around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from predictors.engines.engine import Answer, Engine, EngineCandidate, Unsuited
from predictors.protocol.casting import Array


def torch(module: Any, dtype: np.dtype[Any] | None) -> EngineCandidate:
    """`dtype` is that of the network's parameters, if they have but one."""
    return EngineCandidate("torch", lambda: torch_engine(module, dtype))


def torch_engine(module: Any, dtype: np.dtype[Any] | None) -> Engine:
    from torch import from_numpy, inference_mode

    if dtype is None:
        raise Unsuited("its parameters have several types, or none")
    forward = operations_of(module)

    def run(rows: Array, probabilities: bool) -> Answer:
        with np.errstate(over="ignore"):
            rows = rows.astype(dtype if rows.dtype.kind == "f" else rows.dtype, copy=not rows.flags.writeable)
        with inference_mode():
            return forward(from_numpy(rows)).numpy(), None

    return Engine("torch", run)


def operations_of(module: Any) -> Callable[[Any], Any]:
    """The operations of an exported program with its guards, without the trees of arguments; any other module itself.

    For a small network those trees take longer than its operations.
    """
    from torch.fx import Graph, GraphModule

    if not isinstance(module, GraphModule) or not hasattr(module, "_guards_fn"):
        return module  # type: ignore[no-any-return]
    graph = Graph()
    graph.output(graph.graph_copy(module.graph, {}))
    program = GraphModule(module, graph)

    def forward(tensor: Any) -> Any:
        (only,) = program(tensor)
        return only

    return forward
