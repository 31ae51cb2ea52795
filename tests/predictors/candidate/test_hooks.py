"""A subclass with hooks of its own: both versions go through them, and there is no shadow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from loadtest.peers.ports import free_port
from tests.predictors.candidate.versions import Versions
from tests.serving import answers, wait_for

PROGRAM = """
import sys

sys.argv, (folder, http) = sys.argv[:1], sys.argv[1:]

from predictors.pipeline.settings import Settings
from predictors.server import Server
from predictors.sklearn import SklearnModel


class Labelled(SklearnModel):
    async def postprocess(self, result, headers=None, response_headers=None):
        return {**result, "unit": "EUR"}


settings = Settings(model_name="own", host="127.0.0.1", http_port=int(http), grpc_port=0, load_trial=False)
Server(settings).start([Labelled("own", folder, settings=settings)])
"""
CANDIDATE = "/v2/repository/models/own/candidate"


@pytest.fixture
def own(registered: Versions, tmp_path: Path) -> Iterator[httpx.Client]:
    port = free_port()
    command = [sys.executable, "-c", PROGRAM, str(registered.folder / "times-0"), str(port)]
    with (tmp_path / "log").open("wb") as log:
        started = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            wait_for(
                lambda: answers(client, "/v2/health/ready") == 200,
                lambda: started.poll() is not None and (tmp_path / "log").read_text(),
            )
            yield client
    finally:
        started.terminate()
        started.wait(30)


def test_both_versions_go_through_the_hooks(own: httpx.Client, registered: Versions) -> None:
    uri = str(registered.folder / "times-1")  # beside that of the model
    reply = own.put(CANDIDATE, json={"uri": uri, "mode": "shadow"})
    assert (reply.status_code, "hooks of its own has no shadow" in reply.text) == (409, True), reply.text
    own.put(CANDIDATE, json={"uri": uri, "share": 0.5, "key": "column:a"}).raise_for_status()
    answered: dict[float, set[float]] = {}
    for caller in [*range(1, 21)] * 2:
        reply = own.post("/v1/models/own:predict", json={"instances": [{"a": float(caller)}]})
        assert reply.json()["unit"] == "EUR"
        answered.setdefault(caller, set()).add(round(reply.json()["predictions"][0] / caller))
    assert all(len(factors) == 1 for factors in answered.values()), "the same caller gets the same version"
    assert {factor for factors in answered.values() for factor in factors} == {1, 2}
    assert own.post("/v2/repository/models/own/promote").status_code == 200
    reply = own.post("/v1/models/own:predict", json={"instances": [{"a": 10.0}]})
    assert (round(reply.json()["predictions"][0]), reply.json()["unit"]) == (20, "EUR")
