"""What a model may run while it loads."""

from __future__ import annotations

from dataclasses import dataclass

from predictors.settings.declare import setting
from predictors.settings.values import names, truth


@dataclass(frozen=True)
class SafetySettings:
    allow_code_execution: bool = setting(
        True,
        "whether loading a model may run code that comes with it (pickle, code paths, custom pyfunc); false refuses "
        "models that would",
        truth,
        group="Safety",
    )
    skops_trusted: frozenset[str] | None = setting(
        None,
        "types that skops files may contain, separated by commas; the model's own list cannot extend it",
        names,
        group="Safety",
        shown="the model's own list",
    )
