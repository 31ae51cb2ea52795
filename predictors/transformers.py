"""Hugging Face transformers pipelines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from predictors.flavor import MLmodel
from predictors.model.base import MLflowModel
from predictors.model.methods import pyfunc_method
from predictors.model.native import Method, Native, implementation_of


class TransformersModel(MLflowModel):
    flavor: ClassVar[str] = "transformers"
    probes: ClassVar[bool] = False

    def load_native(self, mlmodel: MLmodel) -> Native:
        implementation = implementation_of(mlmodel, self.flavor)
        pipeline = implementation.get_raw_model()
        methods = {"predict": pyfunc_method(mlmodel, implementation)}
        if getattr(pipeline, "task", "") == "text-classification":
            methods["predict_proba"] = class_scores(pipeline)
        return Native(methods=methods, raw=pipeline)


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
