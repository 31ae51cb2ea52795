"""`make demo-feast`: a Feast repository, a model that declares its features, and a server that looks them up.

With --server, features come from Feast's own feature server over HTTP.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression

from predictors.features import declare
from predictors.features.demo import SERVICE, build

FEAST_PORT = 6566
INTRODUCTION = """
Features come from the feature service '{service}' in {folder}. Try:

# two entities and a value that only the caller knows; the features are looked up
curl http://localhost:{port}/v1/models/rides:predict -H 'Content-Type: application/json' \\
  -d '{{"instances": [{{"driver_id": 1001, "customer_id": "ada", "distance": 4.5}}]}}'

# values in the request take precedence
curl http://localhost:{port}/v1/models/rides:predict -H 'Content-Type: application/json' \\
  -d '{{"instances": [{{"driver_id": 1001, "customer_id": "ada", "distance": 4.5, "rating": 1.0}}]}}'

# the same with tensors
curl http://localhost:{port}/v2/models/rides/infer -H 'Content-Type: application/json' \\
  -d '{{"inputs": [{{"name": "driver_id", "shape": [2], "datatype": "INT64", "data": [1001, 1002]}},
                  {{"name": "customer_id", "shape": [2], "datatype": "BYTES", "data": ["ada", "grace"]}},
                  {{"name": "distance", "shape": [2], "datatype": "FP64", "data": [4.5, 12.0]}}]}}'

# an entity that Feast does not know
curl http://localhost:{port}/v1/models/rides:predict -H 'Content-Type: application/json' \\
  -d '{{"instances": [{{"driver_id": 7, "customer_id": "ada", "distance": 4.5}}]}}'

# the inputs to send, and those that are looked up
curl http://localhost:{port}/schema
"""


def rides(count: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Generated data: the price of rides by driver, customer and distance."""
    random = np.random.default_rng(seed)
    data = pd.DataFrame(
        {
            "distance": random.uniform(1, 30, count).round(2),
            "rating": random.uniform(1, 5, count).round(2),
            "trips": random.integers(0, 60, count),
            "orders": random.integers(0, 50, count),
        }
    )
    return data, (3 + 1.8 * data.distance + 0.6 * data.rating - 0.02 * data.orders + 0.01 * data.trips).to_numpy()


def log_model(folder: Path) -> Path:
    """Saves a model that declares its features."""
    data, price = rides(500, seed=3)
    model = LinearRegression().fit(data, price)
    mlflow.sklearn.save_model(
        model,
        folder,
        signature=infer_signature(data, model.predict(data)),
        input_example=data.head(2),
        pip_requirements=["scikit-learn"],
        metadata=declare(SERVICE, entities=["driver_id", "customer_id"]),
    )
    return folder


@contextmanager
def feature_server(repository: Path) -> Iterator[str]:
    """Runs Feast's own server during the block."""
    command = ["feast", "-c", str(repository), "serve", "-h", "127.0.0.1", "-p", str(FEAST_PORT)]
    started = subprocess.Popen([str(Path(sys.executable).with_name(command[0])), *command[1:]])
    url = f"http://127.0.0.1:{FEAST_PORT}"
    try:
        while started.poll() is None:
            try:
                urllib.request.urlopen(f"{url}/health", timeout=1).close()  # noqa: S310 - our own address
                break
            except OSError:
                time.sleep(0.2)
        yield url
    finally:
        started.terminate()
        started.wait()


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo-feast", description=__doc__)
    parser.add_argument("--server", action="store_true", help="use Feast's feature server instead of its online store")
    parser.add_argument("--port", type=int, default=8080)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the folder is removed
    with tempfile.TemporaryDirectory(prefix="demo-feast-") as name:
        folder = Path(name)
        repository, model = build(folder / "feast"), log_model(folder / "model")
        print(INTRODUCTION.format(service=SERVICE, folder=repository, port=options.port), flush=True)
        serve = [sys.executable, "-m", "predictors.mlflow", "--model-dir", str(model)]
        serve += ["--model-name", "rides", "--model-version", "1"]
        serve += ["--http-port", str(options.port), "--grpc-port", str(options.port + 1)]
        try:
            if not options.server:
                return subprocess.call(serve, env={**os.environ, "FEAST_REPO_PATH": str(repository)})
            with feature_server(repository) as url:
                return subprocess.call(serve, env={**os.environ, "FEAST_SERVER_URL": url})
        except KeyboardInterrupt:
            return 0


if __name__ == "__main__":
    sys.exit(main())
