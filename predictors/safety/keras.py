"""TensorFlow models: .keras files, which Keras loads in its safe mode; they may name only parts of Keras.

Not HDF5 (its Lambda layers hold bytecode), nor SavedModels (their graphs may write files while they are loaded).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from zipfile import ZipFile

from predictors.safety.json_entries import walk_entries
from predictors.safety.model_files import MLMODEL, ModelFiles

# Layers that hold bytecode, a SavedModel or a pickle; and the modules of Keras that a model may name.
CODE_LAYERS = ("Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper")
KERAS_MODULE = re.compile(r"builtins|keras(\.(?!utils\b|config\b|saving\b)\w+)*")


def check_tensorflow(model: ModelFiles) -> None:
    config = model.section("keras" if "keras" in model.flavors else "tensorflow")
    kind = config.get("model_type", "keras" if "keras" in model.flavors else "tf1-estimator")
    if kind != "keras" or config.get("save_exported_model"):
        model.refuse_code(f"a SavedModel (model_type {kind!r} in {MLMODEL})", "its graph may read and write files")
    data = model.folder / str(model.pyfunc.get("data", ""))
    if model.loader == "mlflow.keras":
        data /= str(config.get("data", "model"))
    for pickled in (data / "custom_objects.cloudpickle", data / "global_custom_objects.cloudpickle"):
        if pickled.exists():
            model.refuse_code(model.describe(pickled), "a pickle runs code when it is loaded")
    module, written_as = (read_text(data / name) for name in ("keras_module.txt", "save_format.txt"))
    if module not in (None, "keras", "tensorflow.keras"):
        model.refuse_code(f"{module!r} in {model.describe(data / 'keras_module.txt')}", "MLflow imports it")
    archive = data / "model.keras"
    if model.loader == "mlflow.tensorflow" and written_as in (None, "h5"):
        model.refuse_code(
            model.describe(data / "model.h5"), "Lambda layers in HDF5 files run code when they are loaded"
        )
    if not archive.is_file():
        model.refuse_code(model.describe(data), "it holds no .keras file, and other formats may run code when loaded")
    with ZipFile(archive) as zip_file:
        document = json.loads(zip_file.read("config.json"))
    for key, value in walk_entries(document):
        if key == "class_name" and value in CODE_LAYERS:
            model.refuse_code(f"layer {value} in {model.describe(archive)}", "it runs code of the model")
        if key == "module" and isinstance(value, str) and not KERAS_MODULE.fullmatch(value):
            model.refuse_code(f"module {value!r} in {model.describe(archive)}", "it is no part of a Keras model")


def read_text(file: Path) -> str | None:
    return file.read_text(errors="replace") if file.is_file() else None
