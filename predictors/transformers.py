"""Hugging Face transformers pipelines."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from predictors.engines.engine import EngineCandidate
from predictors.flavor import MLmodel
from predictors.model.base import MLflowModel
from predictors.model.loaded import LoadError
from predictors.model.methods import pyfunc_method
from predictors.model.native import Method, Native, implementation_of
from predictors.protocol.mixed_rows import ColumnType
from predictors.signature.plan import read_plan

AUDIO_TASKS = ("automatic-speech-recognition", "audio-classification", "zero-shot-audio-classification")
FFMPEG = "ffmpeg"


class TransformersModel(MLflowModel):
    flavor: ClassVar[str] = "transformers"
    probes: ClassVar[bool] = False

    def load_native(self, mlmodel: MLmodel) -> Native:
        implementation = implementation_of(mlmodel, self.flavor)
        pipeline = implementation.get_raw_model()
        require_decoder(str(getattr(pipeline, "task", "")), mlmodel)
        methods = {"predict": pyfunc_method(mlmodel, implementation)}
        if getattr(pipeline, "task", "") == "text-classification":
            methods["predict_proba"] = class_scores(pipeline)
        return Native(methods=methods, raw=pipeline)

    def column_engines(self, native: Native, columns: Sequence[ColumnType]) -> list[EngineCandidate]:
        from predictors.engines.text_classification import text_classification

        classifies = getattr(native.raw, "task", "") == "text-classification"
        return [text_classification(native.raw)] if classifies and len(columns) == 1 and columns[0].is_text else []


def require_decoder(task: str, mlmodel: MLmodel) -> None:
    """Refuses a model that takes encoded audio where the program is not installed that decodes it."""
    inputs = read_plan(mlmodel).inputs
    encoded = not inputs or any(field.type in ("binary", "string") for field in inputs)
    if task in AUDIO_TASKS and encoded and shutil.which(FFMPEG) is None:
        raise LoadError(
            f"the pipeline for {task} decodes audio with {FFMPEG}, which is not installed (apt install ffmpeg)"
        )


def class_scores(pipeline: Any) -> Method:
    """Scores of all labels, in the order of the model's own label ids."""
    labels = [pipeline.model.config.id2label[i] for i in range(pipeline.model.config.num_labels)]

    def run(data: Any, params: Mapping[str, Any]) -> Any:
        texts = [str(text) for text in np.asarray(data).reshape(-1)]
        scored = [{entry["label"]: entry["score"] for entry in scores} for scores in pipeline(texts, top_k=None)]
        return np.array([[scores[label] for label in labels] for scores in scored])

    return run


if __name__ == "__main__":
    from predictors.mlflow import main

    main(forced_flavor=TransformersModel.flavor)
