"""Where the model's packages come from, and how much they may differ from its requirements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from predictors.settings.declare import SettingError, setting
from predictors.settings.values import choice


@dataclass(frozen=True)
class EnvironmentSettings:
    dependencies: str = setting(
        "check",
        "what to do if installed packages differ from the model's requirements: 'check' logs the differences, "
        "'strict' refuses the model, 'ignore' does not compare",
        choice("check", "strict", "ignore"),
        group="Dependencies",
    )
    env_manager: str = setting(
        "local",
        "where the model's packages come from: 'local' uses the installed ones, 'uv' and 'virtualenv' install the "
        "model's requirements into an environment, keep it, and serve the model in it",
        choice("local", "uv", "virtualenv"),
        group="Dependencies",
    )
    env_cache: str | None = setting(
        None,
        "folder that keeps these environments; servers may share it",
        metavar="FOLDER",
        group="Dependencies",
        shown="~/.cache/mlflow-kserve/environments",
    )


class RecipeSettings(Protocol):
    """The settings that decide what an environment contains."""

    @property
    def dependencies(self) -> str: ...
    @property
    def env_manager(self) -> str: ...
    @property
    def flavor(self) -> str | None: ...


def check(settings: EnvironmentSettings, allow_code_execution: bool) -> None:
    if settings.env_manager != "local" and not allow_code_execution:
        raise SettingError(
            f"--env-manager={settings.env_manager} installs the packages that the model names, which may run code of "
            "the model: it cannot be combined with --allow-code-execution=false"
        )
