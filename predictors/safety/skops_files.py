"""Reads skops files without importing all of scikit-learn, as skops does to learn which estimators it trusts.

`lean_skops` is skops with only the estimators that a file names, which are looked up as skops would. It trusts no more
than skops itself, which is asked about the types that it does not trust. It is removed from `sys.modules` after use, so
that others import skops itself.
"""

from __future__ import annotations

import inspect
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from zipfile import BadZipFile, ZipFile

log = logging.getLogger("predictors")


def stand_in(path: str) -> ModuleType:
    """A module with one class, which can be named but not instantiated."""
    name, _, attribute = path.rpartition(".")
    module = ModuleType(name)
    setattr(module, attribute, type(attribute, (), {"__module__": name, "__init__": None}))
    return module


# Modules that skops imports only to save models, or for other files: the estimators of this one are imported by then.
REPLACED_MODULES: dict[str, ModuleType | None] = {
    "sklearn.covariance": None,  # an ImportError
    "sklearn.ensemble": None,
    "sklearn.cluster": stand_in("sklearn.cluster.Birch"),
    "sklearn.tree": ModuleType("sklearn.tree"),
    "sklearn.tree._tree": stand_in("sklearn.tree._tree.Tree"),
}
CLASS_PATTERN = re.compile(r'"__class__": "(\w+)",\s*"__module__": "(sklearn\.[\w.]+)"')
# Parts of scikit-learn that `all_estimators` skips.
IGNORED_PARTS = {"estimator_checks", "tests", "externals", "experimental", "setup", "conftest"}


def load(file: Path, trusted: Sequence[str] | None) -> Any:
    """`skops.io.load`."""
    try:
        with lean_skops(file) as skops_io:
            return skops_io.load(file, trusted=trusted)
    except Exception:
        # skops itself may trust more, and if not, its message is the better one.
        log.debug("lean skops failed; trying skops itself", exc_info=True)
    import skops.io

    return skops.io.load(file, trusted=trusted)


def untrusted_types(file: Path) -> list[str]:
    """`skops.io.get_untrusted_types`."""
    try:
        with lean_skops(file) as skops_io:
            types: list[str] = skops_io.get_untrusted_types(file=file)
        if not any(may_be_estimator(name) for name in types):
            return types
    except Exception:
        log.debug("lean skops failed; trying skops itself", exc_info=True)
    import skops.io

    return list(skops.io.get_untrusted_types(file=file))


@contextmanager
def lean_skops(file: Path) -> Iterator[Any]:
    """skops itself if it has been imported, else one that knows only the estimators that the file names."""
    if "skops.io" in sys.modules:
        yield sys.modules["skops.io"]
        return
    import sklearn.utils

    known = list(estimators_in(file))
    absent = {name: module for name, module in REPLACED_MODULES.items() if name not in sys.modules}
    all_estimators = sklearn.utils.all_estimators
    sklearn.utils.all_estimators = lambda: known
    sys.modules.update(absent)  # type: ignore[arg-type]
    try:
        yield import_skops()
    finally:
        sklearn.utils.all_estimators = all_estimators
        for name in [*absent, *(name for name in sys.modules if name.split(".")[0] == "skops")]:
            del sys.modules[name]


def import_skops() -> Any:
    """Imports skops faster: it searches all modules for each ufunc, so those that have the ufuncs come first."""
    spec = find_spec("skops.io")
    if spec is None or spec.loader is None:
        raise ImportError("skops.io")
    package = module_from_spec(spec)
    sys.modules["skops.io"] = package
    preferred = {name: import_module(name) for name in ("numpy", "scipy.special")}
    utils: Any = import_module("skops.io._utils")
    utils.sys = SimpleNamespace(modules={**preferred, **sys.modules})
    spec.loader.exec_module(package)
    return package


def estimators_in(file: Path) -> Iterator[tuple[str, type]]:
    """The entries of `sklearn.utils.all_estimators` for the classes in the file."""
    for name, module in sorted(set(CLASS_PATTERN.findall(read_schema(file)))):
        public = module.partition("._")[0]  # `all_estimators` searches public modules only
        if IGNORED_PARTS.intersection(public.split(".")) or name.startswith("_"):
            continue
        try:
            candidate = getattr(import_module(public), name, None)
        except ImportError:
            continue
        if candidate is not None and is_estimator(candidate) and candidate.__module__ == module:
            yield name, candidate


def read_schema(file: Path) -> str:
    try:
        with ZipFile(file) as archive:
            return archive.read("schema.json").decode(errors="replace")
    except (BadZipFile, KeyError, OSError):
        return ""  # skops reports what is wrong


def is_estimator(candidate: Any) -> bool:
    from sklearn.base import BaseEstimator

    return (
        isinstance(candidate, type)
        and issubclass(candidate, BaseEstimator)
        and candidate is not BaseEstimator
        and not inspect.isabstract(candidate)
    )


def may_be_estimator(path: str) -> bool:
    """Whether skops itself might trust a type that lean skops does not."""
    module, _, name = path.rpartition(".")
    if not module.startswith("sklearn."):
        return False
    candidate = getattr(sys.modules.get(module), name, None)
    return not isinstance(candidate, type) or is_estimator(candidate)
