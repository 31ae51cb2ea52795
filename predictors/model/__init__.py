"""Models: loading them, predicting with them, and `kserve.Model`. Subclass `predictors.model.MLflowModel`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from predictors.model.base import MLflowModel as MLflowModel

__all__ = ["MLflowModel"]


def __getattr__(name: str) -> Any:
    """Imports `MLflowModel`, and with it KServe, on first use: programs without KServe use modules of this package."""
    if name == "MLflowModel":
        from predictors.model.base import MLflowModel

        return MLflowModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
