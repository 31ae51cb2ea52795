"""Packages whose `__init__` imports far more than a server needs: it runs when something needs it, and not before.

A package that is put off is the one module object that everybody gets; when it becomes whole it stays that object.
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
class Lean:
    """What there is of a package before it is whole."""

    homes: Mapping[str, str] = field(default_factory=dict)
    """Names, and the modules inside of the package that they come from."""
    functions: tuple[str, ...] = ()
    """Names that some modules take at import, and call later if at all."""
    takers: tuple[str, ...] = ()
    """These modules; to others a name of the package is what it is."""
    submodules: bool = False
    """Whether submodules can be imported without the package's own `__init__`."""
    shadowed: tuple[str, ...] = ()
    """Submodules whose names the `__init__` gives to something else."""


PACKAGES = {
    # Else: a client of the cluster's API and all of its objects.
    "kserve": Lean(
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
    # A third of the time that scikit-learn takes to import, for what two of its modules take from it.
    "scipy.stats": Lean(functions=("rankdata", "gmean"), takers=("sklearn",)),
    # Only for the replies of KServe's own server, which is not used.
    "fastapi": Lean(),
    "fastapi.responses": Lean(functions=("JSONResponse",), takers=("kserve.errors",)),
}


class LazyPackage(ModuleType):
    """Stands in `sys.modules` for the package, and becomes it when that is needed."""

    def __getattr__(self, name: str) -> Any:
        package, lean = self.__name__, lean_of(self)
        if name.startswith("__") and name != "__all__":  # asked of every module that there is
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if name in lean.homes:
            found = getattr(import_module(lean.homes[name]), name)
            setattr(self, name, found)
            return found
        if name in lean.functions and type(self) is LazyPackage and asked_by(lean.takers):
            return PutOff(package, name)
        if lean.submodules and name not in lean.shadowed and find_spec(f"{package}.{name}"):
            return import_module(f"{package}.{name}")
        become_whole(self)
        return ModuleType.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in lean_of(self).shadowed:  # set by the import of the submodule
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        become_whole(self)
        return sorted(self.__dict__)


def asked_by(takers: tuple[str, ...]) -> bool:
    """Whether it is for one of them that a name is looked up; the import system looks first."""
    module = str(sys._getframe(2).f_globals.get("__name__"))
    return any(module == taker or module.startswith(f"{taker}.") for taker in (*takers, "importlib"))


class WholeFirst:
    """Finds the submodules of packages that are to be whole before one is imported."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        package = sys.modules.get(name.rpartition(".")[0])
        if not isinstance(package, LazyPackage) or lean_of(package).submodules:
            return None
        become_whole(package)
        return ModuleSpec(name, Present(sys.modules[name])) if name in sys.modules else None


class Present(Loader):
    """For a module that came with its package."""

    def __init__(self, module: ModuleType) -> None:
        self.module, self.spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec


class Becoming(LazyPackage):
    """While the real `__init__` runs: the thread that runs it finds what is there, others wait."""


whole_import = RLock()


def lean_of(package: ModuleType) -> Lean:
    return PACKAGES[package.__name__]


@dataclass(frozen=True)
class PutOff:
    """A function of a package that is not whole yet."""

    package: str
    name: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        package = import_module(self.package)
        become_whole(package)
        return package.__dict__[self.name](*args, **kwargs)


def become_whole(package: ModuleType) -> None:
    """Runs the real `__init__` in the same module object; what is imported already stays what it is."""
    with whole_import:
        parent = sys.modules.get(package.__name__.rpartition(".")[0])
        if isinstance(parent, LazyPackage):
            become_whole(parent)  # as without all this; it may need this package on the way
        spec = package.__spec__
        if package.__class__ != LazyPackage or spec is None or spec.loader is None:
            return
        turn(package, Becoming)
        try:
            spec.loader.exec_module(package)
        except BaseException:
            turn(package, LazyPackage)
            raise
        turn(package, ModuleType)


def turn(package: ModuleType, kind: type[ModuleType]) -> None:
    package.__class__ = kind


def put_off_import(name: str) -> None:
    """To be called before the first import of the package; later it changes nothing."""
    parent, _, child = name.rpartition(".")
    path = import_module(parent).__path__ if parent else None
    spec = None if name in sys.modules else PathFinder.find_spec(name, path)
    if spec is None or spec.loader is None:
        return
    package: ModuleType = module_from_spec(spec)
    turn(package, LazyPackage)
    if not PACKAGES[name].submodules and WholeFirst not in sys.meta_path:
        sys.meta_path.insert(0, WholeFirst)
    sys.modules[name] = package
    if parent:
        setattr(import_module(parent), child, package)
