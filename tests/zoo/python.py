"""Custom Python models and what else comes as pyfunc."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.zoo.case import PIP, ZooModel, few, numbers


def save(folder: Path, source: str, *, data: Any = None, signature: Any = None, **options: Any) -> None:
    """Saves a model whose code is `source`, as MLflow's models from code."""
    import mlflow.pyfunc
    from mlflow.models import infer_signature

    code = folder.parent / f"{folder.name}.py"
    code.parent.mkdir(parents=True, exist_ok=True)
    code.write_text(textwrap.dedent(source))
    if signature is None and data is not None:
        signature = infer_signature(data, None)
    if signature is not None:
        options["signature"] = signature
    mlflow.pyfunc.save_model(folder, python_model=str(code), **PIP, **options)


def model(body: str) -> str:
    """A PythonModel whose `predict` has this body."""
    head = """
    import mlflow, numpy as np, pandas as pd

    class Model(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
    """
    inner = textwrap.indent(textwrap.dedent(body).strip(), " " * 8)
    return f"{textwrap.dedent(head).rstrip()}\n{inner}\n\nmlflow.models.set_model(Model())\n"


def with_params(folder: Path) -> None:
    from mlflow.models import infer_signature

    params = {"factor": 2.0, "times": 1, "names": ["x", "y"]}
    body = "return model_input['a'] * params['factor'] * params['times'] + len(params['names'])"
    save(folder, model(body), signature=infer_signature(numbers(), None, params))


def pickled(folder: Path) -> None:
    import mlflow.pyfunc
    from mlflow.models import infer_signature

    class Model(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow ships no types
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            return model_input.sum(axis=1)

    mlflow.pyfunc.save_model(folder, python_model=Model(), signature=infer_signature(numbers(), None), **PIP)


def type_hints(folder: Path) -> None:
    source = """
    import mlflow

    class Model(mlflow.pyfunc.PythonModel):
        def predict(self, model_input: list[str]) -> list[str]:
            return [text.upper() for text in model_input]

    mlflow.models.set_model(Model())
    """
    save(folder, source)


def nested_types(folder: Path) -> None:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import AnyType, Array, Map, Object, Property

    inputs = Schema(
        [
            ColSpec(Array(DataType.double), "scores"),
            ColSpec(
                Object([Property("city", DataType.string), Property("zip", DataType.long, required=False)]), "home"
            ),
            ColSpec(Map(DataType.long), "counts"),
            ColSpec(AnyType(), "extra"),
        ]
    )
    body = """
    return [
        {"sum": sum(row.scores), "city": row.home["city"], "counted": sum(row.counts.values()), "extra": row.extra}
        for row in model_input.itertuples()
    ]
    """
    save(folder, model(body), signature=ModelSignature(inputs=inputs))


def nested() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "scores": [[1.5, 2.0], [3.0]],
            "home": [{"city": "Ulm", "zip": 89073}, {"city": "Köln"}],
            "counts": [{"a": 1}, {"b": 2, "c": 3}],
            "extra": [["x", 1], {"y": None}],
        }
    )


def moments(folder: Path) -> None:
    """Datetimes, bytes and an optional column, echoed as text and numbers."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    inputs = Schema([ColSpec("datetime", "at"), ColSpec("binary", "data"), ColSpec("double", "maybe", required=False)])
    body = """
    return pd.DataFrame({
        "at": model_input["at"].dt.strftime("%Y-%m-%dT%H:%M:%S.%f"),
        "size": [len(item) for item in model_input["data"]],
        "maybe": model_input["maybe"] if "maybe" in model_input else -1.0,
    })
    """
    save(folder, model(body), signature=ModelSignature(inputs=inputs))


def moment_rows() -> pd.DataFrame:
    at = pd.to_datetime(["2024-01-01T12:00:00.000", "1999-12-31T23:59:59.250"])
    return pd.DataFrame({"at": at, "data": [b"\x00\xff", b"text"], "maybe": [1.5, np.nan]})


def unbounded(folder: Path) -> None:
    save(folder, model("return np.where(model_input['a'] > 0, np.nan, np.inf)"), data=numbers())


def named_tensors(folder: Path) -> None:
    body = "return {'sum': model_input['x'].sum(axis=(1, 2)), 'double': model_input['y'] * 2}"
    save(folder, model(body), data=tensors(), input_example=tensors())


def tensors() -> dict[str, np.ndarray[Any, Any]]:
    return {"x": np.arange(12.0).reshape(3, 2, 2), "y": np.array([[1], [2], [3]], dtype=np.int64)}


def with_code(folder: Path) -> None:
    """A model with a module beside it."""
    helper = folder.parent / f"{folder.name}-code" / "zoo_helper.py"
    helper.parent.mkdir(parents=True, exist_ok=True)
    helper.write_text("def tripled(values):\n    return values * 3\n")
    source = """
    import mlflow

    class Model(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input):
            from zoo_helper import tripled
            return tripled(model_input["a"])

    mlflow.models.set_model(Model())
    """
    save(folder, source, data=numbers(), code_paths=[str(helper)])


def unsigned(folder: Path) -> None:
    save(folder, model("return np.asarray(model_input) * 2"))


def least_squares(folder: Path) -> None:
    import mlflow.statsmodels
    import statsmodels.api
    from mlflow.models import infer_signature

    data = numbers()
    fitted = statsmodels.api.OLS(data.a * 2 + data.b, data).fit()
    mlflow.statsmodels.save_model(fitted, folder, signature=infer_signature(data, fitted.predict(data)), **PIP)


def forecast(folder: Path) -> None:
    import logging

    import mlflow.prophet
    from mlflow.models import infer_signature
    from prophet import Prophet

    logging.getLogger("cmdstanpy").setLevel(logging.WARNING)
    days = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=60), "y": np.sin(np.arange(60.0))})
    # Without sampling its forecasts are the same each time.
    fitted = Prophet(yearly_seasonality=False, uncertainty_samples=0).fit(days)
    ahead = days[["ds"]]
    mlflow.prophet.save_model(fitted, folder, signature=infer_signature(ahead, fitted.predict(ahead)), **PIP)


def ahead() -> pd.DataFrame:
    return pd.DataFrame({"ds": pd.date_range("2024-03-01", periods=3)})


CASES = [
    ZooModel("pyfunc-params", "pyfunc", with_params, lambda: few(numbers())),
    ZooModel("pyfunc-pickled", "pyfunc", pickled, lambda: few(numbers())),
    ZooModel("pyfunc-type-hints", "pyfunc", type_hints, lambda: ["a", "bc", "007"]),
    ZooModel("pyfunc-nested-types", "pyfunc", nested_types, nested),
    ZooModel("pyfunc-datetime-binary-optional", "pyfunc", moments, moment_rows),
    ZooModel("pyfunc-nan-and-infinity", "pyfunc", unbounded, lambda: few(numbers())),
    ZooModel("pyfunc-named-tensors", "pyfunc", named_tensors, tensors),
    ZooModel("pyfunc-code-paths", "pyfunc", with_code, lambda: few(numbers())),
    ZooModel("pyfunc-no-signature", "pyfunc", unsigned, lambda: numbers(5).to_numpy()),
    ZooModel("statsmodels", "pyfunc", least_squares, lambda: few(numbers())),
    ZooModel("prophet", "pyfunc", forecast, ahead, slow=True),
]
