"""Text classification by transformers: the steps of the pipeline, without the data set that it makes of a request."""

from __future__ import annotations

from typing import Any

from predictors.engines.engine import Answer, Engine, EngineCandidate, Unsuited
from predictors.protocol.mixed_rows import MixedRows


def text_classification(pipeline: Any) -> EngineCandidate:
    return EngineCandidate("torch", lambda: text_engine(pipeline))


def text_engine(pipeline: Any) -> Engine:
    """Each text goes through the network alone, as in the pipeline: padding would change last digits."""
    import pandas as pd
    from torch import inference_mode
    from transformers import TextClassificationPipeline

    if type(pipeline) is not TextClassificationPipeline:
        raise Unsuited(f"it is a {type(pipeline).__name__}")
    if pipeline.device.type != "cpu" or (pipeline._batch_size or 1) > 1:
        raise Unsuited("its pipeline computes on another device, or several texts together")
    before, during, after = pipeline._preprocess_params, pipeline._forward_params, pipeline._postprocess_params

    def classify(text: str | None) -> Any:
        tokens = pipeline.preprocess(text, **before)
        return pipeline.postprocess(pipeline._forward(tokens, **during), **after)

    def run(rows: MixedRows, probabilities: bool) -> Answer:
        (texts,) = rows.texts
        with inference_mode():
            return pd.DataFrame([classify(text) for text in texts]), None

    return Engine("torch", run)
