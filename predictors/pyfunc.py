"""All other models that MLflow can load: custom Python models, statsmodels, prophet, agents, …"""

from __future__ import annotations

from importlib import import_module
from typing import ClassVar

from predictors.flavor import MLmodel
from predictors.model.base import MLflowModel
from predictors.model.methods import pyfunc_method
from predictors.model.native import Method, Native, as_mlflow_has_them, load_pyfunc

IMPORTED_LATE = {"mlflow.openai": ("openai", "mlflow.openai.api_request_parallel_processor")}
"""What loaders of MLflow import at the first prediction: a model that lacks it is not to be ready."""


class PyFuncModel(MLflowModel):
    flavor: ClassVar[str] = "pyfunc"
    probes: ClassVar[bool] = False

    def load_native(self, mlmodel: MLmodel) -> Native:
        for module in IMPORTED_LATE.get(str(mlmodel.pyfunc.get("loader_module")), ()):
            import_module(module)
        model = load_pyfunc(mlmodel)
        content = mlmodel.content
        columns = bool(content.get("signature")) and not content.get("is_signature_from_type_hint")
        predict: Method
        if columns and not content.get("type_hint_from_example"):
            predict = pyfunc_method(mlmodel, model._model_impl)
        else:
            # MLflow itself converts plain values to the type hints of the model.
            predict = lambda data, params: model.predict(data, params=as_mlflow_has_them(params))  # noqa: E731
        return Native(methods={"predict": predict}, raw=model)


if __name__ == "__main__":
    from predictors.mlflow import main

    main(forced_flavor=PyFuncModel.flavor)
