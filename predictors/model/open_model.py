"""Opens a model on disk: an `MLflowModel` of its flavor's class, or of the class of the model that is served."""

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
    """A model of the source's flavor, not loaded yet. Raises `FlavorError` if the source does not have that flavor."""
    mlmodel = read_mlmodel(source.path)
    flavor = mlmodel.detect() if settings.flavor is None else BY_NAME[settings.flavor]
    if flavor.name != "pyfunc" and not mlmodel.config(flavor.name):
        raise FlavorError(f"{source.resolved_uri} has no {flavor.name} flavor (it has {', '.join(mlmodel.flavors)})")
    require_modules(flavor)
    model: MLflowModel = model_class(flavor.name)(settings.model_name, source, settings=settings)
    return model


def open_next(settings: ModelSettings, served: MLflowModel | None, source: Source) -> MLflowModel:
    """Another version of a model, not loaded yet. People's own subclasses are kept; else its flavor decides."""
    if served is not None:
        settings = served.settings
    if source.version is not None:
        settings = replace(settings, model_version=None)  # the setting is about the first version
    if served is None or type(served) is model_class(served.flavor):
        return open_model(settings, source)
    model = copy(served)
    model.source, model.settings, model.status = source, settings, LoadingStatus()
    model.loaded, model.ready, model.on_prediction = None, False, None
    model.features, model.features_opened_for, model.features_lock = None, None, Lock()
    return model


def model_class(flavor: str) -> type[MLflowModel]:
    model_class_: type[MLflowModel] = getattr(import_flavor(flavor), BY_NAME[flavor].model)
    return model_class_
