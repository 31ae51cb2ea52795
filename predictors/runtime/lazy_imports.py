"""Packages whose `__init__` imports far more than a server needs: it runs when something needs it, and not before.

A deferred package is a module object in `sys.modules`, like any other; once its `__init__` has run it is still the same
object, so references to it stay good.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec, module_from_spec
from threading import RLock
from types import ModuleType
from typing import Any


@dataclass(frozen=True)
class Deferral:
    """What a package offers before its `__init__` has run."""

    homes: Mapping[str, str] = field(default_factory=dict)
    """Names, and the modules of the package that define them."""
    functions: tuple[str, ...] = ()
    """Names that `importers` import, and call later if at all."""
    importers: tuple[str, ...] = ()
    """The modules that get a deferred function; for all others the package is initialized."""
    submodules: bool = False
    """Whether submodules can be imported without the package's own `__init__`."""
    shadowed: tuple[str, ...] = ()
    """Submodules whose names the `__init__` binds to something else."""


PACKAGES = {
    # Else: a client of the cluster's API and all of its objects.
    "kserve": Deferral(
        homes={
            "Model": "kserve.model",
            "ModelServer": "kserve.model_server",
            "ModelRepository": "kserve.model_repository",
            "PredictorConfig": "kserve.predictor_config",
            **dict.fromkeys(("InferenceGRPCClient", "InferenceRESTClient", "RESTConfig"), "kserve.inference_client"),
            **dict.fromkeys(
                ("InferRequest", "InferInput", "InferResponse", "InferOutput"), "kserve.protocol.infer_type"
            ),
        },
        submodules=True,
        shadowed=("constants", "utils"),
    ),
    # A third of scikit-learn's import time, for two functions that two of its modules use.
    "scipy.stats": Deferral(functions=("rankdata", "gmean"), importers=("sklearn",)),
    # Only for the replies of KServe's own server, which is not used.
    "fastapi": Deferral(),
    "fastapi.responses": Deferral(functions=("JSONResponse",), importers=("kserve.errors",)),
}


class DeferredPackage(ModuleType):
    """A package whose `__init__` has not run; a name that needs it runs it."""

    def __getattr__(self, name: str) -> Any:
        package, deferral = self.__name__, deferral_of(self)
        if name.startswith("__") and name != "__all__":  # the import system asks every module for these
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if name in deferral.homes:
            value = getattr(import_module(deferral.homes[name]), name)
            setattr(self, name, value)
            return value
        if name in deferral.functions and type(self) is DeferredPackage and imported_by(deferral.importers):
            return DeferredFunction(package, name)
        if deferral.submodules and name not in deferral.shadowed and find_spec(f"{package}.{name}"):
            return import_module(f"{package}.{name}")
        initialize(self)
        return ModuleType.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in deferral_of(self).shadowed:  # the import of a submodule sets it
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        initialize(self)
        return sorted(self.__dict__)


class InitializingPackage(DeferredPackage):
    """While the `__init__` runs: the thread that runs it sees what is there, others wait."""


@dataclass(frozen=True)
class DeferredFunction:
    """A function of a deferred package, which the first call initializes."""

    package: str
    name: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        package = import_module(self.package)
        initialize(package)
        return package.__dict__[self.name](*args, **kwargs)


class SubmoduleFinder:
    """Initializes a deferred package before one of its submodules is imported, unless that works without."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        package = sys.modules.get(name.rpartition(".")[0])
        if not isinstance(package, DeferredPackage) or deferral_of(package).submodules:
            return None
        initialize(package)
        return ModuleSpec(name, LoadedModule(sys.modules[name])) if name in sys.modules else None


class LoadedModule(Loader):
    """The loader of a submodule that its package has imported already."""

    def __init__(self, module: ModuleType) -> None:
        self.module, self.spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec


initializing = RLock()


def deferral_of(package: ModuleType) -> Deferral:
    return PACKAGES[package.__name__]


def imported_by(importers: tuple[str, ...]) -> bool:
    """Whether one of these modules looks a name up; the import system does so first, on its behalf."""
    caller = str(sys._getframe(2).f_globals.get("__name__"))
    return any(caller == name or caller.startswith(f"{name}.") for name in (*importers, "importlib"))


def initialize(package: ModuleType) -> None:
    """Runs the package's `__init__` in the same module object; names that are bound already stay bound."""
    with initializing:
        parent = sys.modules.get(package.__name__.rpartition(".")[0])
        if isinstance(parent, DeferredPackage):
            initialize(parent)  # as in any import; it may import this package on the way
        spec = package.__spec__
        if package.__class__ != DeferredPackage or spec is None or spec.loader is None:
            return
        set_class(package, InitializingPackage)
        try:
            spec.loader.exec_module(package)
        except BaseException:
            set_class(package, DeferredPackage)
            raise
        set_class(package, ModuleType)


def set_class(package: ModuleType, kind: type[ModuleType]) -> None:
    package.__class__ = kind


def defer_server_imports() -> None:
    """Defers what every server would import and hardly uses."""
    for name in ("kserve", "fastapi", "fastapi.responses"):
        defer_import(name)


def defer_import(name: str) -> None:
    """Call it before the first import of the package; later it changes nothing."""
    parent, _, child = name.rpartition(".")
    path = import_module(parent).__path__ if parent else None
    spec = None if name in sys.modules else PathFinder.find_spec(name, path)
    if spec is None or spec.loader is None:
        return
    package: ModuleType = module_from_spec(spec)
    set_class(package, DeferredPackage)
    if not PACKAGES[name].submodules and SubmoduleFinder not in sys.meta_path:
        sys.meta_path.insert(0, SubmoduleFinder)
    sys.modules[name] = package
    if parent:
        setattr(import_module(parent), child, package)
