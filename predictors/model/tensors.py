"""The inputs and outputs of a model in the form of V2's metadata."""

from __future__ import annotations

from predictors.model.loaded import Tensor
from predictors.protocol.batch import Prediction
from predictors.protocol.results import named_tensors
from predictors.protocol.tensors import datatype_of
from predictors.signature.plan import SignaturePlan


def input_tensors(plan: SignaturePlan) -> list[Tensor]:
    """The inputs of the signature; without one, the matrix that the model expects."""
    if plan.inputs:
        return [
            {
                "name": field.name or (f"input-{i}" if plan.tensors else str(i)),
                "datatype": field.datatype,
                "shape": list(field.shape),
            }
            for i, field in enumerate(plan.inputs)
        ]
    width = -1 if plan.width is None else plan.width
    return [{"name": "input-0", "datatype": "FP64", "shape": [-1, width]}]


def output_tensors(prediction: Prediction) -> tuple[Tensor, ...]:
    """The outputs of a prediction; their first axis is the rows, of any number."""
    return tuple(
        {"name": name, "datatype": datatype_of(tensor.dtype), "shape": [-1, *tensor.shape[1:]]}
        for name, tensor in named_tensors(prediction).items()
    )
