"""Reads an MLmodel file: which flavor serves it and which image that needs. No framework is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from predictors.bounded_yaml import load_yaml

MLMODEL = "MLmodel"


class FlavorError(Exception):
    """The model cannot be served with the flavor; the message is one line for the operator."""


@dataclass(frozen=True, slots=True)
class Flavor:
    """What the product knows of an MLflow flavor without loading it."""

    name: str
    extra: str
    """The extra of this distribution that installs what the flavor needs."""
    modules: tuple[str, ...]
    """Top-level modules without which no model of the flavor loads."""
    image: str
    """The image family that holds them."""
    model: str
    """The class in this package that serves it."""


# In order of detection: the boosting libraries first, because their models are often logged through
# scikit-learn's interface as well; pyfunc takes whatever is left.
FLAVORS: tuple[Flavor, ...] = (
    Flavor("xgboost", "xgboost", ("xgboost",), "boosting", "XGBoostModel"),
    Flavor("lightgbm", "lightgbm", ("lightgbm",), "boosting", "LightGBMModel"),
    Flavor("catboost", "catboost", ("catboost",), "boosting", "CatBoostModel"),
    Flavor("sklearn", "sklearn", ("sklearn",), "sklearn", "SklearnModel"),
    Flavor("pytorch", "pytorch", ("torch",), "pytorch", "PyTorchModel"),
    Flavor("tensorflow", "tensorflow", ("tensorflow",), "tensorflow", "TensorFlowModel"),
    Flavor("transformers", "transformers", ("transformers",), "transformers", "TransformersModel"),
    Flavor("onnx", "onnx", ("onnxruntime",), "onnx", "OnnxModel"),
    Flavor("pyfunc", "pyfunc", (), "onnx", "PyFuncModel"),
)
BY_NAME = {flavor.name: flavor for flavor in FLAVORS}
# Names of flavors in MLmodel files that differ from ours: before MLflow 2, Keras models had their own.
ALIASES = {"keras": "tensorflow", "python_function": "pyfunc"}
IMAGE_REGISTRY = "mlflow-kserve"
FAMILIES = tuple(sorted({flavor.image for flavor in FLAVORS}))
STORAGE = "storage"


def image_of(flavor: str, *, registry: str = IMAGE_REGISTRY, tag: str = "latest") -> str:
    """The image that serves a flavor."""
    return family_image(BY_NAME[flavor].image, registry=registry, tag=tag)


def family_image(family: str, *, registry: str = IMAGE_REGISTRY, tag: str = "latest") -> str:
    return f"{registry}/predictor-{family}:{tag}"


def storage_image(*, registry: str = IMAGE_REGISTRY, tag: str = "latest") -> str:
    """The image that downloads models and cleans up after them."""
    return f"{registry}/{STORAGE}:{tag}"


@dataclass(frozen=True)
class MLmodel:
    """An MLmodel file as it is, with the few things that are asked of it by name."""

    path: Path
    content: Mapping[str, Any] = field(default_factory=dict)

    @property
    def flavors(self) -> Mapping[str, Mapping[str, Any]]:
        flavors: Mapping[str, Mapping[str, Any]] = self.content.get("flavors") or {}
        return flavors

    @property
    def pyfunc(self) -> Mapping[str, Any]:
        return self.flavors.get("python_function", {})

    def config(self, flavor: str) -> Mapping[str, Any]:
        """The flavor's own section of the file."""
        for name in (flavor, *(alias for alias, known in ALIASES.items() if known == flavor)):
            if name in self.flavors:
                return self.flavors[name]
        return {}

    @property
    def code(self) -> Path | None:
        """The folder of the code that it brings along."""
        sections = [self.pyfunc, *self.flavors.values()]
        names = [section.get("code") for section in sections if isinstance(section, Mapping)]
        return next((self.path / name for name in names if isinstance(name, str)), None)

    def detect(self) -> Flavor:
        """The first flavor of ours, in order, that the file has."""
        present = {ALIASES.get(name, name) for name in self.flavors}
        for flavor in FLAVORS:
            if flavor.name in present:
                return flavor
        raise FlavorError(f"{self.path / MLMODEL} has no flavor that can be served (found: {', '.join(self.flavors)})")


def read_mlmodel(folder: Path) -> MLmodel:
    """Reads the MLmodel file of a model folder."""
    file = folder / MLMODEL
    if file.exists() and not file.is_file():  # reading a pipe would wait for its writer
        raise FlavorError(f"{file} is not a file")
    try:
        content = load_yaml(file)
    except FileNotFoundError:
        raise FlavorError(f"{folder} is not an MLflow model: it has no file named {MLMODEL}") from None
    except (yaml.YAMLError, ValueError, RecursionError, OSError) as error:  # ValueError: an impossible date, for one
        raise FlavorError(f"{file} cannot be read: {str(error).splitlines()[0]}") from None
    if not isinstance(content, dict) or not isinstance(content.get("flavors"), dict):
        raise FlavorError(f"{file} is not an MLmodel file: it has no 'flavors'")
    for name, config in content["flavors"].items():
        if not isinstance(name, str) or not isinstance(config, dict):
            raise FlavorError(f"{file} is not an MLmodel file: expected a mapping under 'flavors.{name}'")
    return MLmodel(folder, content)


def require_modules(flavor: Flavor) -> None:
    """Refuses a flavor whose framework is not installed, with the command that installs it."""
    missing = [module for module in flavor.modules if find_spec(module) is None]
    if missing:
        raise FlavorError(
            f"the {flavor.name} flavor needs {', '.join(missing)}, which is not installed: "
            f"pip install 'mlflow-kserve[{flavor.extra}]'"
        )


def import_flavor(name: str) -> Any:
    """The module of this package that serves the flavor."""
    return import_module(f"{__package__}.{name}")
