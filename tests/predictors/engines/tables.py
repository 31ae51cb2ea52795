"""Tables of columns of several types, and the signature that MLflow infers from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import infer_signature

from predictors.signature.plan import SignaturePlan, compile_plan

CITIES = ["Ulm", "Köln", "München", "007", "New York", ""]
STREETS = ["a", "b", "c", "d", "e\u0301", "\u00e9", "A"]
WORDS = ["Größe", "größe", "it", "works", "not", "really", "7", "e\u0301", "日本"]


def table(rows: int = 400, seed: int = 3) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "city": random.choice(CITIES, rows, p=[0.4, 0.3, 0.1, 0.1, 0.05, 0.05]).astype(object),
            "amount": random.normal(size=rows),
            "street": random.choice(STREETS, rows).astype(object),
            "count": random.integers(0, 9, rows),
            "rate": random.normal(size=rows) * 100,
            "member": random.integers(0, 2, rows).astype(bool),
            "note": [" ".join(words) for words in random.choice(WORDS, (rows, 6))],
            "code": random.integers(1, 5, rows).astype(np.int32),
        }
    )


def plan_of(data: Any) -> SignaturePlan:
    return compile_plan(infer_signature(data).to_dict())
