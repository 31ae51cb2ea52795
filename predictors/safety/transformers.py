"""Models of transformers: safetensors, without Python files and without references to code or to files elsewhere."""

from __future__ import annotations

import json
from typing import Any

from predictors.safety.json_entries import walk_entries
from predictors.safety.model_files import MLMODEL, PICKLES, ModelFiles

NOT_SAFETENSORS = (*PICKLES, ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".py")
# Keys and names of parameters that make Hugging Face's libraries fetch and import Python files.
REMOTE_CODE = ("auto_map", "custom_pipelines", "custom_generate", "trust_remote_code")
VOCABULARIES = ("tokenizer.json", "vocab.json")


def check_transformers(model: ModelFiles) -> None:
    for key in ("source_model_revision", "local_base_model_path"):
        if key in model.config:
            model.refuse_code(f"transformers.{key} in {MLMODEL}", "it loads a model from outside of the model folder")
    for file in sorted(model.folder.rglob("*")):
        if file.suffix in NOT_SAFETENSORS:
            model.refuse_code(model.describe(file), "it is not safetensors and may run code when it is loaded")
        if (file.suffix == ".json" and file.name not in VOCABULARIES) or file.name == "inference_config.txt":
            check_remote_code(model, model.describe(file), json.loads(file.read_bytes()))


def check_remote_code(model: ModelFiles, where: str, document: Any) -> None:
    for key, value in walk_entries(document):
        if (key in REMOTE_CODE and value) or (key == "name" and value in REMOTE_CODE):
            model.refuse_code(f"{key} {value!r} in {where}", "it makes transformers import Python files")
        if key.endswith("_implementation") and "/" in str(value):
            model.refuse_code(f"{key} {value!r} in {where}", "it makes transformers load a kernel from elsewhere")
