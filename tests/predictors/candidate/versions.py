"""A registry in a file, with a model `m` whose version n answers n × a."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import mlflow.sklearn
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression

from tests.serving import Running
from tests.zoo.case import PIP, numbers

PUT = "/v2/repository/models/model/candidate"
PROMOTE = "/v2/repository/models/model/promote"


@dataclass
class Versions:
    uri: str
    client: mlflow.MlflowClient
    folder: Path

    def add(self, factor: float, columns: tuple[str, ...] = ("a",)) -> str:
        """Another version; its number."""
        data = numbers()[list(columns)]
        model = LinearRegression().fit(data, data[columns[0]] * factor)
        stored = self.folder / f"times-{len(list(self.folder.iterdir()))}"
        signature = infer_signature(data, model.predict(data))
        mlflow.sklearn.save_model(model, stored, signature=signature, **PIP)
        return self.register(stored)

    def register(self, stored: Path) -> str:
        return str(self.client.create_model_version("m", str(stored)).version)

    def alias(self, alias: str, version: int | str) -> None:
        self.client.set_registered_model_alias("m", alias, str(version))

    def tag(self, version: int | str, value: str) -> None:
        self.client.set_model_version_tag("m", str(version), "candidate_share", value)


def versions(folder: Path, *factors: float) -> Versions:
    uri = f"sqlite:///{folder}/store.db"
    (folder / "models").mkdir()
    made = Versions(uri, mlflow.MlflowClient(uri), folder / "models")
    made.client.create_registered_model("m")
    for factor in factors:
        made.add(factor)
    return made


def ask(server: Running, value: Any = 10.0, **options: Any) -> tuple[str, float]:
    """The version that answers over V1, and its answer."""
    reply = server.post("/v1/models/model:predict", {"instances": [{"a": value}]}, **options)
    assert reply.status_code == 200, reply.text
    assert reply.headers["x-model-version"] == reply.json()["model_version"]
    return reply.headers["x-model-version"], reply.json()["predictions"][0]


def split(server: Running, requests: int = 400) -> Counter[str]:
    """How many requests each version answered, each with its own numbers."""
    counted: Counter[str] = Counter()
    for _ in range(requests):
        version, answer = ask(server)
        assert abs(answer - 10 * int(version)) < 1e-6, (version, answer)
        counted[version] += 1
    return counted
