"""From a model on disk to the object that serves it: of the flavor's class, or like the one that somebody made."""

from __future__ import annotations

from asyncio import Lock
from copy import copy
from dataclasses import replace

from predictors.flavor import BY_NAME, FlavorError, import_flavor, read_mlmodel, require_modules
from predictors.model.base import MLflowModel
from predictors.model.loaded import LoadingStatus
from predictors.model.settings import ModelSettings
from predictors.storage.source import Source


def open_model(settings: ModelSettings, source: Source) -> MLflowModel:
    """The model of the right flavor for a source, not loaded yet."""
    mlmodel = read_mlmodel(source.path)
    flavor = mlmodel.detect() if settings.flavor is None else BY_NAME[settings.flavor]
    if flavor.name != "pyfunc" and not mlmodel.config(flavor.name):
        raise FlavorError(f"{source.resolved_uri} has no {flavor.name} flavor (it has {', '.join(mlmodel.flavors)})")
    require_modules(flavor)
    model: MLflowModel = class_of(flavor.name)(settings.model_name, source, settings=settings)
    return model


def open_next(settings: ModelSettings, served: MLflowModel | None, source: Source) -> MLflowModel:
    """Another version of a model: in the class of the one that is served if somebody wrote that, else by its flavor."""
    if served is not None:
        settings = served.settings
    if source.version is not None:
        settings = replace(settings, model_version=None)  # it named the first one
    if served is None or type(served) is class_of(served.flavor):
        return open_model(settings, source)
    model = copy(served)
    model.source, model.settings, model.status = source, settings, LoadingStatus()
    model.loaded, model.ready, model.answered = None, False, None
    model.features, model.opened_for, model.opening = None, None, Lock()
    return model


def class_of(flavor: str) -> type[MLflowModel]:
    found: type[MLflowModel] = getattr(import_flavor(flavor), BY_NAME[flavor].model)
    return found
