"""A loaded model: native objects, tables, and `kserve.Model`. Subclass `predictors.model.MLflowModel`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from predictors.model.base import MLflowModel as MLflowModel

__all__ = ["MLflowModel"]


def __getattr__(name: str) -> Any:
    """Imports KServe only for those who subclass: the rooms beside it are read by programs that do without."""
    if name == "MLflowModel":
        from predictors.model.base import MLflowModel

        return MLflowModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
