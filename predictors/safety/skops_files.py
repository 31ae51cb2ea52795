"""skops files without importing all of scikit-learn, which is what skops does to know the estimators that it trusts.

Here it is told of those that a file names, found as skops would have found them. It trusts no more than skops as it is,
which is asked again about what it does not trust. The lean skops is dropped after use: others get the whole one.
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
    """A module with one class that is there to be named, and cannot be made."""
    name, _, attribute = path.rpartition(".")
    module = ModuleType(name)
    setattr(module, attribute, type(attribute, (), {"__module__": name, "__init__": None}))
    return module


# What skops imports to save models, and for files of others than this one, whose own estimators are imported by then.
NOT_NEEDED: dict[str, ModuleType | None] = {
    "sklearn.covariance": None,  # an ImportError
    "sklearn.ensemble": None,
    "sklearn.cluster": stand_in("sklearn.cluster.Birch"),
    "sklearn.tree": ModuleType("sklearn.tree"),
    "sklearn.tree._tree": stand_in("sklearn.tree._tree.Tree"),
}
NAMED = re.compile(r'"__class__": "(\w+)",\s*"__module__": "(sklearn\.[\w.]+)"')
# Parts of scikit-learn in which `all_estimators` does not look.
IGNORED = {"estimator_checks", "tests", "externals", "experimental", "setup", "conftest"}


def load(file: Path, trusted: Sequence[str] | None) -> Any:
    """`skops.io.load`."""
    try:
        with lean_skops(file) as skops_io:
            return skops_io.load(file, trusted=trusted)
    except Exception:
        log.debug("skops itself is asked", exc_info=True)  # maybe it trusts more, and else it says best what is wrong
    import skops.io

    return skops.io.load(file, trusted=trusted)


def untrusted_types(file: Path) -> list[str]:
    """`skops.io.get_untrusted_types`."""
    try:
        with lean_skops(file) as skops_io:
            found: list[str] = skops_io.get_untrusted_types(file=file)
        if not any(may_be_estimator(name) for name in found):
            return found
    except Exception:
        log.debug("skops itself is asked", exc_info=True)
    import skops.io

    return list(skops.io.get_untrusted_types(file=file))


@contextmanager
def lean_skops(file: Path) -> Iterator[Any]:
    """skops as it is if somebody has imported it, else one that knows the estimators that the file names."""
    if "skops.io" in sys.modules:
        yield sys.modules["skops.io"]
        return
    import sklearn.utils

    named = list(estimators(file))
    absent = {name: module for name, module in NOT_NEEDED.items() if name not in sys.modules}
    whole = sklearn.utils.all_estimators
    sklearn.utils.all_estimators = lambda: named
    sys.modules.update(absent)  # type: ignore[arg-type]
    try:
        yield import_quickly()
    finally:
        sklearn.utils.all_estimators = whole
        for name in [*absent, *(name for name in sys.modules if name.split(".")[0] == "skops")]:
            del sys.modules[name]


def import_quickly() -> Any:
    """skops looks for the home of each ufunc in all modules: first in the two whose ufuncs it wants."""
    spec = find_spec("skops.io")
    if spec is None or spec.loader is None:
        raise ImportError("skops.io")
    package = module_from_spec(spec)
    sys.modules["skops.io"] = package
    first = {name: import_module(name) for name in ("numpy", "scipy.special")}
    utils: Any = import_module("skops.io._utils")
    utils.sys = SimpleNamespace(modules={**first, **sys.modules})
    spec.loader.exec_module(package)
    return package


def estimators(file: Path) -> Iterator[tuple[str, type]]:
    """What `sklearn.utils.all_estimators` has of the classes in the file."""
    for name, module in sorted(set(NAMED.findall(schema(file)))):
        public = module.partition("._")[0]  # `all_estimators` looks into public modules only
        if IGNORED.intersection(public.split(".")) or name.startswith("_"):
            continue
        try:
            found = getattr(import_module(public), name, None)
        except ImportError:
            continue
        if found is not None and is_estimator(found) and found.__module__ == module:
            yield name, found


def schema(file: Path) -> str:
    try:
        with ZipFile(file) as archive:
            return archive.read("schema.json").decode(errors="replace")
    except (BadZipFile, KeyError, OSError):
        return ""  # skops will say what is wrong


def is_estimator(found: Any) -> bool:
    from sklearn.base import BaseEstimator

    return (
        isinstance(found, type)
        and issubclass(found, BaseEstimator)
        and found is not BaseEstimator
        and not inspect.isabstract(found)
    )


def may_be_estimator(path: str) -> bool:
    """Whether a type that lean skops does not trust could be one that skops trusts."""
    module, _, name = path.rpartition(".")
    if not module.startswith("sklearn."):
        return False
    found = getattr(sys.modules.get(module), name, None)
    return not isinstance(found, type) or is_estimator(found)
