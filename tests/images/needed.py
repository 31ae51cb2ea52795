"""The models of the zoo that show that an image holds what its flavors need."""

from __future__ import annotations

MODELS = {
    "sklearn": ("sklearn-forest-text-labels", "sklearn-pipeline-mixed-columns"),
    "boosting": ("xgboost-classifier", "lightgbm-classifier", "catboost-classifier"),
    "pytorch": ("pytorch-pt2", "pytorch-torchscript"),
    "tensorflow": ("keras-file", "tensorflow-saved-model"),
    "transformers": ("transformers-text-classification",),
    "onnx": ("onnx-classifier", "pyfunc-params"),
}
