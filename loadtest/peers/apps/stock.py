"""A server with KServe's SDK alone: a `kserve.Model` that loads a framework's model and calls it.

`--tuned` is the same server without request logs and warnings.
"""

from __future__ import annotations

import argparse
import logging
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from kserve import InferRequest, InferResponse, Model, ModelServer
from kserve.utils.utils import get_predict_input, get_predict_response


def load(folder: Path) -> Any:
    """Loads the file in the MLflow folder with the framework's loader, as KServe's framework servers do."""
    boosters = sorted(folder.glob("model.ubj")) + sorted(folder.glob("model.json")) + sorted(folder.glob("model.xgb"))
    if boosters:
        from xgboost import XGBClassifier

        model = XGBClassifier()
        model.load_model(boosters[0])
        return model
    if (folder / "model.cb").is_file():
        from catboost import CatBoostClassifier

        return CatBoostClassifier().load_model(str(folder / "model.cb"))
    with (folder / "model.pkl").open("rb") as file:
        return pickle.load(file)  # noqa: S301


def load_network(folder: Path) -> Callable[[Any], Any] | None:
    """A neural network as a function of what KServe makes of a request; None if the folder has none."""
    if (keras_file := folder / "data" / "model.keras").exists():
        import keras

        model = keras.saving.load_model(keras_file)
        return lambda rows: model.predict(np.asarray(rows, np.float32), verbose=0)
    if (torch_file := folder / "data" / "model.pth").exists():
        import torch

        network = torch.load(torch_file, weights_only=False)

        def forward(rows: Any) -> Any:
            with torch.no_grad():
                return network(torch.from_numpy(np.asarray(rows, np.float32))).numpy()

        return forward
    if (onnx_file := folder / "model.onnx").exists():
        import onnxruntime

        session = onnxruntime.InferenceSession(onnx_file, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda rows: session.run(None, {name: np.asarray(rows, np.float32)})[0]
    if (folder / "components").exists():
        from transformers import pipeline

        classifier = pipeline(
            "text-classification", model=str(folder / "model"), tokenizer=str(folder / "components" / "tokenizer")
        )
        return lambda texts: classifier([*texts])
    return None


class Stock(Model):  # type: ignore[misc]  # kserve ships no types
    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name)
        self._folder = folder
        self._predict: Callable[[Any], Any]

    def load(self) -> bool:
        network = load_network(self._folder)
        self._predict = load(self._folder).predict if network is None else network
        self.ready = True
        return True

    def predict(
        self, payload: dict[str, Any] | InferRequest, headers: dict[str, str] | None = None
    ) -> dict[str, Any] | InferResponse:
        result = self._predict(get_predict_input(payload))
        if isinstance(result, list):
            return {"predictions": result}
        return get_predict_response(payload, result, self.name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--model-dir", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--http-port", type=int, required=True)
    parser.add_argument("--grpc-port", type=int, required=True)
    parser.add_argument("--tuned", action="store_true")
    options = parser.parse_args()
    settings: dict[str, Any] = {}
    if options.tuned:
        warnings.simplefilter("ignore")
        settings["enable_latency_logging"] = False
    served = Stock(options.name, options.model_dir)
    served.load()
    server = ModelServer(http_port=options.http_port, grpc_port=options.grpc_port, workers=1, **settings)
    if options.tuned:
        logging.disable(logging.INFO)
    server.start([served])
