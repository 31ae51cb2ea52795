"""Bare files as MLflow models: a pickle of scikit-learn, or a folder of transformers.

A model is saved once for what it holds. Its folder stays, because a control plane starts its servers from it again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from mlflow_kserve.sdk.status import UnusableFunction

PICKLES = (".pkl", ".joblib")
GUARD = "MLFLOW_KSERVE_ALLOW_CODE_EXECUTION"
"""The server's own setting: a pickle runs code when it is loaded."""
NO = ("0", "false", "no", "off")
PART = 1 << 20
TASKS = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForMaskedLM": "fill-mask",
    "ForCausalLM": "text-generation",
    "ForImageClassification": "image-classification",
}
"""What a model does, by the end of its architecture's name."""


def model_of_pickle(file: Path) -> Path:
    """The folder of an MLflow model of what joblib or pickle has written. Raises UnusableFunction."""
    if not file.is_file():
        raise UnusableFunction(f"there is no file {file}")
    if os.environ.get(GUARD, "").lower() in NO:
        raise UnusableFunction(f"{file} is a pickle, which runs code when it is loaded, and {GUARD} does not allow it")

    def save(folder: Path) -> None:
        import joblib  # type: ignore[import-untyped]  # has no types
        import mlflow.sklearn
        import sklearn

        model = joblib.load(file)
        mlflow.sklearn.save_model(
            model, folder, serialization_format="cloudpickle", pip_requirements=[f"scikit-learn=={sklearn.__version__}"]
        )

    return saved(file, [file], save)


def model_of_checkpoint(checkpoint: Path) -> Path:
    """The folder of an MLflow model of what `save_pretrained` has written. Raises UnusableFunction."""
    task = task_of(checkpoint)

    def save(folder: Path) -> None:
        import mlflow.transformers
        import transformers

        pipeline: Any = transformers.pipeline(task, model=str(checkpoint), trust_remote_code=False)
        mlflow.transformers.save_model(
            pipeline, folder, pip_requirements=[f"transformers=={transformers.__version__}", "torch"]
        )

    return saved(checkpoint, sorted(each for each in checkpoint.rglob("*") if each.is_file()), save)


def task_of(checkpoint: Path) -> str:
    try:
        architectures = json.loads((checkpoint / "config.json").read_text()).get("architectures") or []
    except (OSError, ValueError, AttributeError) as error:
        raise UnusableFunction(f"{checkpoint / 'config.json'} cannot be read: {error}") from None
    for architecture in architectures:
        for end, task in TASKS.items():
            if str(architecture).endswith(end):
                return task
    said = ", ".join(map(str, architectures)) or "no architecture"
    raise UnusableFunction(
        f"{checkpoint} has {said}, whose task is not known: save it with mlflow.transformers.save_model"
    )


def saved(what: Path, files: Iterable[Path], save: Callable[[Path], None]) -> Path:
    """The folder of the model, saved unless it is there already. Raises UnusableFunction."""
    base = Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "mlflow-kserve" / "models"
    folder = base / f"{what.stem}-{digest(files)[:16]}"
    if folder.is_dir():
        return folder
    base.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=base, prefix="unfinished-"))
    try:
        save(unfinished / "model")
        if not folder.is_dir():  # nobody else was faster
            (unfinished / "model").rename(folder)
    except ImportError as error:
        raise UnusableFunction(f"{what} needs a package that is not installed: {error}") from None
    except Exception as error:  # whatever a file holds may go wrong in any way
        raise UnusableFunction(f"{what} cannot be loaded: {type(error).__name__}: {error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def digest(files: Iterable[Path]) -> str:
    """The sha256 of the files' contents."""
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            total.update(file.name.encode() + b"\0")
            while part := opened.read(PART):
                total.update(part)
    return total.hexdigest()
