"""A model that is about to be loaded, what its operator allows, and how it is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

MLMODEL = "MLmodel"
ALLOW = "--allow-code-execution=true would allow it"
NEVER = "no setting allows it"
PICKLES = (".pkl", ".pickle", ".joblib", ".cloudpickle", ".dill")


@dataclass(frozen=True)
class Policy:
    """The operator's settings."""

    allow_code_execution: bool = True
    skops_trusted: frozenset[str] | None = None
    """None if the operator gave no list."""


class UnsafeModel(Exception):
    """The model is refused; the message is one line for the operator."""


def refuse(what: str, why: str, setting: str = ALLOW) -> NoReturn:
    raise UnsafeModel(" ".join(f"{what} is refused: {why}; {setting}".split()))


@dataclass(frozen=True)
class ModelFiles:
    """A model that is about to be loaded, and the policy for it."""

    folder: Path
    flavors: Mapping[str, Any]
    flavor: str
    policy: Policy

    def section(self, name: str) -> Mapping[str, Any]:
        config = self.flavors.get(name)
        return config if isinstance(config, Mapping) else {}

    @property
    def pyfunc(self) -> Mapping[str, Any]:
        return self.section("python_function")

    @property
    def config(self) -> Mapping[str, Any]:
        return self.section(self.flavor)

    @property
    def loader(self) -> str:
        return str(self.pyfunc.get("loader_module", f"mlflow.{self.flavor}"))

    def describe(self, file: Path) -> str:
        return f"file {file.relative_to(self.folder).as_posix()}"

    def refuse_code(self, what: str, why: str) -> None:
        """Refuses something that runs code, unless the policy allows it."""
        if not self.policy.allow_code_execution:
            refuse(what, why)

    def files(self, *keys: str) -> list[Path]:
        """The files under these keys of the flavor and of pyfunc. MLflow loads one of them, so all have to be safe."""
        named = [section.get(key) for section in (self.pyfunc, self.config) for key in keys]
        files = [self.folder / str(name) for name in dict.fromkeys(filter(None, named))]
        if not files:
            self.refuse_code(f"the {self.flavor} model", f"{MLMODEL} does not name its file ({', '.join(keys)})")
        for file in files:
            if file.suffix in PICKLES:
                self.refuse_code(self.describe(file), "a pickle runs code when it is loaded")
        return files
