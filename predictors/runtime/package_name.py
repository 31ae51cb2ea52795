"""A model may bring a package that is called `predictors`, as ours is: then ours goes by another name in this process.

Python knows one module by a name, and what a model has pickled refers to its modules by theirs. So it is our modules
that are renamed; what they import as `predictors` is found under the new name, and everybody else finds the model's.
"""

from __future__ import annotations

import builtins
import pickle
import sys
import threading
from collections.abc import Mapping, Sequence
from importlib import import_module
from io import BytesIO
from pathlib import Path
from types import FunctionType, ModuleType
from typing import IO, Any

NAME = "predictors"
OTHER_NAME = "mlflow_kserve_predictors"
ROOT = Path(__file__).parents[2]
"""The folder that holds our package."""

plain_import = builtins.__import__
yielding = threading.Lock()


def yield_to(code: Path | None) -> None:
    """Leaves the name to the model whose code is in a folder, if there is such a package or module in it."""
    if code is None:
        return
    if (code / NAME).is_dir() or (code / f"{NAME}.py").is_file():
        with yielding:
            if OTHER_NAME not in sys.modules:
                rename()


def rename() -> None:
    ours = {name: module for name, module in sys.modules.items() if is_ours(name)}
    for name, module in ours.items():
        renamed = renamed_to(name)
        sys.modules[renamed] = module
        module.__name__ = renamed
        if module.__package__ is not None:
            module.__package__ = renamed_to(module.__package__)
        if module.__spec__ is not None:
            module.__spec__.name = renamed
    builtins.__import__ = import_for_each
    for name in ours:
        del sys.modules[name]


def is_ours(name: str) -> bool:
    return name == NAME or name.startswith(f"{NAME}.")


def renamed_to(name: str) -> str:
    return OTHER_NAME + name.removeprefix(NAME) if is_ours(name) else name


def import_for_each(
    name: str,
    globals: Mapping[str, object] | None = None,
    locals: Mapping[str, object] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    """The import statement: `predictors` is ours in our modules, and the model's in all others."""
    if level == 0 and is_ours(name) and globals is not None:
        importer = globals.get("__name__")
        if isinstance(importer, str) and importer.partition(".")[0] == OTHER_NAME:
            name = renamed_to(name)
    return plain_import(name, globals, locals, fromlist or (), level)


# -- pickles that other processes of ours read ----------------------------------------------------------------------


class OwnPickler(pickle.Pickler):
    """Refers to our classes by the name that they have in every process."""

    def persistent_id(self, value: Any) -> tuple[str, str] | None:
        if not isinstance(value, (type, FunctionType)):
            return None
        module = value.__module__ or ""
        if module.partition(".")[0] == OTHER_NAME:
            module = NAME + module.removeprefix(OTHER_NAME)
        return (module, value.__qualname__) if is_ours(module) else None


class OwnUnpickler(pickle.Unpickler):
    def persistent_load(self, reference: tuple[str, str]) -> Any:
        value: Any = own_module(reference[0])
        for attribute in reference[1].split("."):
            value = getattr(value, attribute)
        return value


def own_module(name: str) -> ModuleType:
    """Our module, whatever it is called in this process."""
    return import_module(renamed_to(name) if OTHER_NAME in sys.modules else name)


def dumps(value: Any) -> bytes:
    stream = BytesIO()
    OwnPickler(stream).dump(value)
    return stream.getvalue()


def load(stream: IO[bytes]) -> Any:
    """Of a file of ours: what is pickled runs code when it is read."""
    return OwnUnpickler(stream).load()
