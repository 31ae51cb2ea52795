"""Imports that are put off: nobody can tell, but by the time that it takes."""

from __future__ import annotations

import subprocess
import sys

import pytest

KSERVE = "from predictors.runtime.lazy_imports import defer_import; defer_import('kserve')\n"
STATS = "from predictors.runtime.lazy_imports import defer_import; defer_import('scipy.stats')\n"


def run(script: str) -> str:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_kserve_without_its_client_of_the_cluster() -> None:
    script = """
import sys
from kserve import InferInput, InferOutput, InferRequest, InferResponse, Model, ModelServer
import kserve, kserve.errors
from kserve.model import Model as home
assert kserve.Model is Model is home
assert issubclass(type("Mine", (Model,), {}), kserve.Model)
assert "kubernetes" not in sys.modules
"""
    run(KSERVE + script)


@pytest.mark.parametrize(
    "script",
    [
        "from kserve import Model, KServeClient, V1beta1InferenceService; import kserve; assert kserve.Model is Model",
        "import kserve.model; from kserve import constants; assert constants.KSERVE_GROUP == 'serving.kserve.io'",
        "import kserve.utils.utils; from kserve import utils; assert utils.__name__ == 'kserve.utils.utils'",
        "from kserve import *; KServeClient, Model",
        "import kserve; assert 'KServeClient' in dir(kserve) and kserve.api.kserve_client.KServeClient",
        "import kserve.api.kserve_client as client; from kserve import KServeClient as k; assert client.KServeClient is k",
        "import kserve; assert not hasattr(kserve, 'nothing')",
    ],
)
def test_kserve_becomes_whole_when_something_else_is_asked_of_it(script: str) -> None:
    run(KSERVE + script)


def test_scikit_learn_without_scipys_distributions() -> None:
    script = """
import sys
import scipy, sklearn.linear_model, sklearn.metrics
assert "scipy.stats._distn_infrastructure" not in sys.modules
assert scipy.stats is sys.modules["scipy.stats"]
assert sklearn.metrics.label_ranking_loss([[1, 0, 0]], [[0.75, 0.5, 1]]) == 0.5
from sklearn.metrics._ranking import rankdata
assert rankdata([3, 1, 2]).tolist() == [3, 1, 2]
assert "scipy.stats._distn_infrastructure" in sys.modules
import scipy.stats
assert scipy.stats.rankdata.__module__.startswith("scipy.stats")
"""
    run(STATS + script)


@pytest.mark.parametrize(
    "script",
    [
        "import scipy.stats.mstats as found; from scipy.stats import mstats; assert found is mstats",
        "from scipy.stats import norm, mstats; assert norm.cdf(0) == 0.5",
        "import scipy; assert scipy.stats.norm.cdf(0) == 0.5",
        "from scipy.stats._distn_infrastructure import rv_frozen; import scipy.stats; rv_frozen, scipy.stats.zscore",
        "from scipy.stats import *; assert norm.cdf(0) == 0.5",
        "import sklearn.covariance, sklearn.impute, sklearn.inspection, sklearn.isotonic, scipy.stats; scipy.stats.chi2",
        "import pickle, scipy.stats; assert pickle.loads(pickle.dumps(scipy.stats.gmean))([1, 4]) == 2",
        "import scipy.stats.distributions as d; assert type(d.__spec__.loader).__name__ == 'SourceFileLoader'",
    ],
)
def test_scipy_stats_becomes_whole_when_something_else_is_asked_of_it(script: str) -> None:
    run(STATS + script)


WEB = "\n".join(f"defer_import({name!r})" for name in ("fastapi", "fastapi.responses")) + "\n"


@pytest.mark.parametrize(
    "script",
    [
        "import asyncio; print(asyncio.run(kserve.errors.invalid_input_handler(None, ValueError('x'))).status_code)",
        "from fastapi.responses import JSONResponse; print(JSONResponse({}, 400).status_code)",
        "import fastapi; from fastapi.testclient import TestClient; print(TestClient(fastapi.FastAPI()).get('/').status_code - 4)",
        "import fastapi.routing, starlette.responses, fastapi.responses as r; assert issubclass(r.JSONResponse, starlette.responses.Response); print(400)",
        "from kserve import ModelServer; from kserve.model_server import app; import fastapi; assert isinstance(app, fastapi.FastAPI); print(400)",
    ],
)
def test_kserves_errors_without_fastapi(script: str) -> None:
    before = (
        "import kserve.errors, sys; assert 'starlette' not in sys.modules and 'fastapi.routing' not in sys.modules\n"
    )
    assert run(KSERVE + WEB + before + script) == "400"


def test_a_scikit_learn_model_is_served_without_mlflow() -> None:
    script = """
import sys
from predictors.model.base import Loaded
from predictors.model.open_model import open_model
from predictors.serving.process import Serving
from predictors.pipeline.settings import Settings
from predictors.storage.source import resolve
settings = Settings()
model = open_model(settings, resolve(settings))
model.load()
assert model.require_loaded().outputs
absent = [name for name in ("mlflow", "kubernetes", "torch", "skops.io", "sklearn.ensemble", "jwt", "cryptography") if name in sys.modules]
print(absent)
"""
    assert run(KSERVE + script) == "[]"


def test_the_storage_initializer_runs_in_a_small_image() -> None:
    script = """
import sys
import predictors.storage.initializer
heavy = {"kserve", "kserve_storage", "uvicorn", "fastapi", "mlflow", "numpy", "pandas", "grpc", "prometheus_client"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    run(script)


def test_a_registry_is_asked_without_feast() -> None:
    script = """
import sys
from importlib.metadata import entry_points
from predictors.pipeline.settings import Settings
from predictors.storage.source import resolve_version
assert any(one.value.startswith("feast.") for one in entry_points(group="mlflow.request_header_provider"))
try:
    resolve_version(Settings(tracking_uri="http://127.0.0.1:9"), "models:/fraud@champion")
except Exception as error:
    assert "/registered-models/alias" in str(error), error
from mlflow.tracking.request_header.registry import _request_header_provider_registry as providers
print("feast" in sys.modules, len(list(providers)))
"""
    assert run(script) == "False 2"
