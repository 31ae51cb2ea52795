"""Keras models as one traced function: `Model.predict` builds a pipeline of data sets for every request."""

from __future__ import annotations

from typing import Any

import numpy as np

from predictors.engines.engine import Answer, Engine, EngineCandidate, Unsuited
from predictors.protocol.casting import Array

PREDICT_ROWS = 32  # `Model.predict` computes so many rows at a time, and the last bit of a row may depend on it


def keras(model: Any) -> EngineCandidate:
    return EngineCandidate("tensorflow", lambda: keras_engine(model))


def keras_engine(model: Any) -> Engine:
    import tensorflow as tf

    only = only_input(model)
    if model.run_eagerly or model.jit_compile:
        raise Unsuited("it is compiled in a way of its own")

    def forward(rows: Any) -> Any:
        return model(rows, training=False)

    # One trace for any number of rows: the first request of each size would wait for another one.
    traced = tf.function(forward, input_signature=[tf.TensorSpec(only.shape, only.dtype)], autograph=False)
    function, dtype = traced.get_concrete_function(), np.dtype(only.dtype)
    if not isinstance(function.structured_outputs, tf.Tensor | tf.TensorSpec):
        raise Unsuited("it has several outputs")

    def run(rows: Array, probabilities: bool) -> Answer:
        with np.errstate(over="ignore"):
            rows = rows.astype(dtype, copy=False)
        parts = [
            function(tf.constant(rows[at : at + PREDICT_ROWS])).numpy() for at in range(0, len(rows), PREDICT_ROWS)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts), None

    return Engine("tensorflow", run)


def only_input(model: Any) -> Any:
    """The input of a model that has one."""
    inputs = getattr(model, "inputs", None)
    if not inputs:
        raise Unsuited("it is no Keras model with an input of a known shape")
    if len(inputs) > 1:
        raise Unsuited("it has several inputs")
    return inputs[0]
