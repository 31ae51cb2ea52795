"""The price and the tariff of a ride, saved by MLflow as models from code."""

from __future__ import annotations

from typing import Any

import mlflow
import pandas as pd


class Tariff(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow ships no types
    """Multiplies prices by the `surcharge` in its configuration, which differs between versions."""

    def predict(self, context: Any, model_input: pd.DataFrame, params: object = None) -> pd.DataFrame:
        known = model_input.fillna({"rating": 3, "trips": 0, "orders": 0}).astype(float)
        price = 3 + 1.8 * known["distance"] + 0.6 * known["rating"] + 0.01 * known["trips"] - 0.02 * known["orders"]
        price *= context.model_config["surcharge"]
        tariff = pd.cut(price, [0, 15, 40, float("inf")], labels=["town", "country", "journey"])
        return pd.DataFrame({"price": price, "tariff": tariff.astype(str)})


mlflow.models.set_model(Tariff())
