"""The neural networks of the benchmark, with random weights: what they answer does not matter for their speed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.peers.tables import TEXT

NETWORKS = ("keras-mlp", "torch-mlp", "onnx-conv", "distilbert")
FEATURES, HIDDEN, PIXELS = 10, 64, 28
_ROWS = 3  # of the examples


@dataclass(frozen=True, slots=True)
class RoundedNetwork:
    """A network whose outputs are compared as whole thousandths."""

    forward: Callable[[Any], Any]

    def predict(self, rows: Any) -> list[int]:
        return thousandths(self.forward(rows))


def thousandths(outputs: Any) -> list[int]:
    return [round(float(value) * 1000) for value in np.ravel(outputs)]


def images(count: int, seed: int) -> Any:
    return np.random.default_rng(seed).random((count, 1, PIXELS, PIXELS)).round(3)


def save(name: str, folder: Path) -> Any:
    """Saves a network with MLflow; returns it, as `Saved` needs it."""
    return {"keras-mlp": keras_mlp, "torch-mlp": torch_mlp, "onnx-conv": onnx_conv, "distilbert": distilbert}[name](
        folder
    )


def keras_mlp(folder: Path) -> Any:
    import keras
    import mlflow.tensorflow
    from mlflow.models import infer_signature

    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(HIDDEN, activation="relu") for _ in range(2)]
    model = keras.Sequential([keras.layers.Input((FEATURES,)), *layers, keras.layers.Dense(1, activation="sigmoid")])
    example = np.zeros((_ROWS, FEATURES), np.float32)
    signature = infer_signature(example, model.predict(example, verbose=0))
    mlflow.tensorflow.save_model(model, folder, signature=signature, pip_requirements=[])
    return RoundedNetwork(lambda rows: model.predict(rows.astype(np.float32), verbose=0))


def torch_mlp(folder: Path) -> Any:
    import mlflow.pytorch
    import torch
    from mlflow.models import infer_signature

    torch.manual_seed(0)
    sizes = (FEATURES, HIDDEN, HIDDEN)
    hidden = [layer for pair in pairwise(sizes) for layer in (torch.nn.Linear(*pair), torch.nn.ReLU())]
    model = torch.nn.Sequential(*hidden, torch.nn.Linear(HIDDEN, 1)).eval()

    def forward(rows: Any) -> Any:
        return model(torch.from_numpy(rows.astype(np.float32))).detach().numpy()

    example = np.zeros((_ROWS, FEATURES), np.float32)
    signature = infer_signature(example, forward(example))
    mlflow.pytorch.save_model(model, folder, signature=signature, serialization_format="pickle", pip_requirements=[])
    return RoundedNetwork(forward)


def onnx_conv(folder: Path) -> Any:
    """Two convolutions and a linear layer over small images."""
    import mlflow.onnx
    import onnxruntime
    from mlflow.models import infer_signature
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    shapes = {"first": (8, 1, 3, 3), "second": (16, 8, 3, 3), "last": (16, 10)}
    weights = [
        numpy_helper.from_array((random.normal(size=shape) / 5).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["image", "first"], ["a"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "second"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("MatMul", ["f", "last"], ["scores"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [None, 1, PIXELS, PIXELS])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, 10])
    graph = helper.make_graph(nodes, "images", [image], [scores], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def forward(rows: Any) -> Any:
        return session.run(None, {"image": rows.astype(np.float32)})[0]

    example = images(_ROWS, 0).astype(np.float32)
    mlflow.onnx.save_model(model, folder, signature=infer_signature(example, forward(example)), pip_requirements=[])
    return RoundedNetwork(forward)


def distilbert(folder: Path) -> Any:
    """A classifier of DistilBERT's size over a small vocabulary."""
    import mlflow.transformers
    import pandas as pd
    import torch
    from mlflow.models import infer_signature
    from transformers import BertTokenizer, DistilBertConfig, DistilBertForSequenceClassification, pipeline

    torch.manual_seed(0)
    words = folder.with_name("words.txt")
    words.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(set(TEXT.split()))]))
    network = DistilBertForSequenceClassification(DistilBertConfig(num_labels=3)).eval()
    classifier = pipeline("text-classification", model=network, tokenizer=BertTokenizer(str(words)))
    signature = infer_signature(pd.DataFrame({"text": ["a"]}), pd.DataFrame({"label": ["LABEL_0"], "score": [0.5]}))
    mlflow.transformers.save_model(classifier, folder, signature=signature, pip_requirements=[])

    def forward(texts: Any) -> Any:
        return [answer["score"] for answer in classifier([*texts])]

    return RoundedNetwork(forward)
