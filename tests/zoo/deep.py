"""PyTorch, TensorFlow, transformers and ONNX models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.zoo.case import PIP, ZooModel, few, labels, numbers


def singles(rows: int = 5) -> np.ndarray[Any, Any]:
    return numbers(rows).to_numpy(np.float32)


def signature(data: Any, output: Any = None) -> Any:
    from mlflow.models import infer_signature

    return infer_signature(data, output)


def network(*last: Any) -> Any:
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3), *last).eval()


def torch_tensor(folder: Path, **options: Any) -> None:
    import mlflow.pytorch
    import torch

    model = network(torch.nn.Softmax(1))
    output = model(torch.from_numpy(singles())).detach().numpy()
    mlflow.pytorch.save_model(model, folder, signature=signature(singles(), output), **PIP, **options)


def torch_columns(folder: Path) -> None:
    import mlflow.pytorch

    sign = signature(numbers())
    mlflow.pytorch.save_model(network(), folder, signature=sign, serialization_format="pickle", **PIP)


def torchscript(folder: Path) -> None:
    import mlflow.pytorch
    import torch

    scripted = torch.jit.script(network())
    mlflow.pytorch.save_model(scripted, folder, signature=signature(singles()), serialization_format="pickle", **PIP)


def torch_of_mlflow_2(folder: Path) -> None:
    from tests.zoo.age import as_written_by

    torch_tensor(folder, serialization_format="pickle")
    as_written_by("2.9.2", folder)


def keras_model(activation: str | None = "sigmoid") -> Any:
    import keras

    keras.utils.set_random_seed(0)
    hidden = keras.layers.Dense(64, activation="relu")  # enough that last bits depend on how many rows are computed
    return keras.Sequential([keras.layers.Input((4,)), hidden, keras.layers.Dense(1, activation=activation)])


def keras_file(folder: Path, **options: Any) -> None:
    import mlflow.tensorflow

    model = keras_model()
    output = model.predict(singles(), verbose=0)
    mlflow.tensorflow.save_model(model, folder, signature=signature(singles(), output), **PIP, **options)


def keras_two_inputs(folder: Path) -> None:
    import keras
    import mlflow.tensorflow

    keras.utils.set_random_seed(0)
    left, right = keras.layers.Input((2,), name="left"), keras.layers.Input((3,), name="right")
    joined = keras.layers.Dense(1)(keras.layers.Concatenate()([left, right]))
    model = keras.Model([left, right], joined)
    output = model.predict(two_inputs(), verbose=0)
    mlflow.tensorflow.save_model(model, folder, signature=signature(two_inputs(), output), **PIP)


def two_inputs() -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.default_rng(0)
    return {name: random.normal(size=(5, size)).astype(np.float32) for name, size in (("left", 2), ("right", 3))}


def saved_model(folder: Path) -> None:
    import mlflow.tensorflow
    import tensorflow as tf

    class Doubler(tf.Module):  # type: ignore[misc]  # tensorflow ships no types
        def __init__(self) -> None:
            super().__init__()
            self.factor = tf.Variable(2.0)

        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32)])  # type: ignore[untyped-decorator]  # nor here
        def __call__(self, rows: Any) -> Any:
            return rows * self.factor

    mlflow.tensorflow.save_model(Doubler(), folder, signature=signature(singles()), **PIP)


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "dog", "small", "big"]


def text_classifier(words: Path) -> Any:
    """A pipeline of transformers, whose vocabulary is written to the file."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer, pipeline

    words.write_text("\n".join(WORDS))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        num_labels=3,
    )
    return pipeline(
        "text-classification",
        model=BertForSequenceClassification(config).eval(),
        tokenizer=BertTokenizer(str(words)),
    )


def text_pipeline(folder: Path) -> None:
    import mlflow.transformers

    folder.parent.mkdir(parents=True, exist_ok=True)
    classifier = text_classifier(folder.parent / f"{folder.name}-words.txt")
    sign = signature(pd.DataFrame({"text": ["a cat"]}), pd.DataFrame({"label": ["LABEL_0"], "score": [0.5]}))
    mlflow.transformers.save_model(classifier, folder, signature=sign, **PIP)


def onnx_classifier(folder: Path, *, zipmap: bool, signed: bool = True) -> None:
    import mlflow.onnx
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    data = numbers()
    model = LogisticRegression().fit(singles(200), labels(data))
    converted = to_onnx(model, singles(1), options={"zipmap": zipmap})
    options = {"signature": signature(singles())} if signed else {}
    mlflow.onnx.save_model(converted, folder, **PIP, **options)


def onnx_columns(folder: Path) -> None:
    """Two named inputs, one output."""
    import mlflow.onnx
    from onnx import TensorProto, helper

    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in ("x", "y")]
    output = helper.make_tensor_value_info("sum", TensorProto.FLOAT, [None])
    graph = helper.make_graph([helper.make_node("Add", ["x", "y"], ["sum"])], "add", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    mlflow.onnx.save_model(model, folder, signature=signature(pair()), **PIP)


def onnx_images(folder: Path) -> None:
    """A convolution of small images."""
    import mlflow.onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(0).normal(size=(2, 1, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "weights"], ["edges"], pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["edges"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["scores"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [None, 1, 4, 4])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, 2])
    graph = helper.make_graph(nodes, "edges", [image], [scores], [numpy_helper.from_array(weights, "weights")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    mlflow.onnx.save_model(model, folder, signature=signature(images()), **PIP)


def images() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).normal(size=(5, 1, 4, 4)).astype(np.float32)


def pair() -> pd.DataFrame:
    return pd.DataFrame({"x": np.array([1.5, 2.5], np.float32), "y": np.array([10, 20], np.float32)})


PROBA = ("predict_proba",)
CASES = [
    ZooModel("pytorch-pt2", "pytorch", lambda f: torch_tensor(f, input_example=singles(3)), singles, True),
    ZooModel("pytorch-pickle", "pytorch", lambda f: torch_tensor(f, serialization_format="pickle"), singles, False, PROBA),
    ZooModel("pytorch-mlflow-2", "pytorch", torch_of_mlflow_2, singles, False, PROBA),
    ZooModel("pytorch-torchscript", "pytorch", torchscript, singles),
    ZooModel("pytorch-columns", "pytorch", torch_columns, lambda: few(numbers())),
    ZooModel("keras-file", "tensorflow", keras_file, singles, True, PROBA),
    ZooModel("keras-h5", "tensorflow", lambda f: keras_file(f, keras_model_kwargs={"save_format": "h5"}), singles,
         False, PROBA),
    ZooModel("keras-two-inputs", "tensorflow", keras_two_inputs, two_inputs, True),
    ZooModel("tensorflow-saved-model", "tensorflow", saved_model, singles),
    ZooModel("transformers-text-classification", "transformers", text_pipeline,
         lambda: pd.DataFrame({"text": ["a small cat", "big dog", "a"]}), True, PROBA),
    ZooModel("onnx-classifier", "onnx", lambda f: onnx_classifier(f, zipmap=False), singles, True, PROBA),
    ZooModel("onnx-classifier-zipmap", "onnx", lambda f: onnx_classifier(f, zipmap=True), singles, True, PROBA),
    ZooModel("onnx-no-signature", "onnx", lambda f: onnx_classifier(f, zipmap=False, signed=False), singles, True, PROBA),
    ZooModel("onnx-two-inputs", "onnx", onnx_columns, pair, True),
    ZooModel("onnx-images", "onnx", onnx_images, images, True),
]  # fmt: skip
