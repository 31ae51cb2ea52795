"""Makes predictors/demo, the model that is served by default: `python tools/make_demo.py`.

The data is generated: the risk of failure of a machine grows with heat, vibration and the months since its service.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import mlflow
import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

TARGET = Path(__file__).parent.parent / "predictors" / "demo"


def machines(count: int, seed: int) -> tuple[pd.DataFrame, npt.NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    data = pd.DataFrame(
        {
            "temperature": random.normal(70, 10, count).round(1),
            "vibration": random.gamma(2.0, 0.2, count).round(3),
            "months_since_service": random.integers(0, 48, count),
            "load": random.uniform(0.2, 1.0, count).round(2),
        }
    )
    risk = 0.09 * (data.temperature - 75) + 2.5 * (data.vibration - 0.5) + 0.06 * (data.months_since_service - 24)
    return data, (random.uniform(size=count) < 1 / (1 + np.exp(-risk.to_numpy()))).astype(np.int64)


def main() -> None:
    data, failed = machines(2_000, seed=7)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(data, failed)
    example = pd.DataFrame(
        {"temperature": [64.2, 91.5], "vibration": [0.21, 1.05], "months_since_service": [3, 41], "load": [0.4, 0.9]}
    )
    shutil.rmtree(TARGET, ignore_errors=True)
    mlflow.sklearn.save_model(
        model,
        TARGET,
        signature=infer_signature(data, model.predict(data)),
        input_example=example,
        pip_requirements=["scikit-learn", "skops"],
        metadata={"description": "Will a machine fail soon? Invented data, for demonstration."},
    )


if __name__ == "__main__":
    main()
