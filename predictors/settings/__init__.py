"""Declaring settings and reading them from flags and the environment; each room declares its own with this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from predictors.pipeline.settings import Settings as Settings

__all__ = ["Settings"]


def __getattr__(name: str) -> Any:
    """The name by which users import the settings of a predictor; a lazy one, since all rooms import this package."""
    if name == "Settings":
        from predictors.pipeline.settings import Settings

        return Settings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
