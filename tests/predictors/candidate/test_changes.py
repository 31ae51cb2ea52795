"""What changes a candidate: commands, the registry, a promotion; in all workers and over gRPC at the same moment."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from tests.predictors.candidate.versions import PROMOTE, PUT, Versions, ask, split
from tests.predictors.reload.test_reload import SECRET, AskingLoad, delivery
from tests.serving import Running, in_thread, process, wait_for, workers_of
from tests.zoo.case import numbers
from tests.zoo.python import save

CRASH = """
import mlflow, os, signal

class Model(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        os.kill(os.getpid(), signal.SIGSEGV)

    def predict(self, context, model_input):
        return model_input["a"]

mlflow.models.set_model(Model())
"""


def infer(server: Running, version: str = "") -> tuple[str, float]:
    tensor = pb.ModelInferRequest.InferInputTensor(
        name="a", datatype="FP64", shape=[1], contents=pb.InferTensorContents(fp64_contents=[10.0])
    )
    request = pb.ModelInferRequest(model_name="model", model_version=version, inputs=[tensor])
    with grpc.insecure_channel(server.grpc) as channel:
        reply = GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=20)
    return reply.model_version, reply.outputs[0].contents.fp64_contents[0]


def state(server: Running) -> dict[str, Any]:
    reply = server.get(PUT)
    report: dict[str, Any] = reply.json() if reply.status_code == 200 else {"state": "none", "reason": ""}
    return report


def flags(registry: Versions, *more: str, uri: str = "models:/m@one") -> list[str]:
    return ["--model-uri", uri, "--tracking-uri", registry.uri, "--reload-interval", "0.2", *more]


def test_a_version_that_is_named_answers(server: Running) -> None:
    server.client.put(PUT, json={"uri": "models:/m/2", "share": 0}).raise_for_status()
    tensor = {"name": "a", "datatype": "FP64", "shape": [1], "data": [10.0]}
    for version in ("1", "2"):
        reply = server.post(f"/v2/models/model/versions/{version}/infer", {"inputs": [tensor]})
        assert reply.json()["model_version"] == reply.headers["x-model-version"] == version
        by, answer = infer(server, version)
        assert by == version
        assert answer == pytest.approx(10.0 * int(version))
        assert server.get(f"/v2/models/model/versions/{version}").json()["versions"] == [version]
    assert infer(server)[0] == "1"
    with pytest.raises(grpc.RpcError, match="served is '1' and '2'"):
        infer(server, "3")


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 400, "'uri' must be"),
        ({"uri": "models:/m"}, 400, "names no version"),
        ({"uri": "models:/m/2", "share": 1.5}, 400, "'share': expected a number from 0 to 1"),
        ({"uri": "models:/m/2", "share": "much"}, 400, "'share': expected a number from 0 to 1"),
        ({"uri": "models:/m/2", "share": True}, 400, "'share' must be a number"),
        ({"uri": "models:/m/2", "mode": "half"}, 400, "'mode' must be split or shadow"),
        ({"uri": "models:/m/2", "key": "cookie"}, 400, "'key': expected header:NAME"),
        ({"uri": "models:/m/2", "key": "header:x user"}, 400, "'key': expected the name of a header"),
        ({"uri": "models:/m/2", "key": "header:x\r\ny"}, 400, "'key': expected the name of a header"),
        ({"uri": "models:/m/2", "weight": 1}, 400, "unknown key 'weight'"),
        ({"uri": "models:/m/2", "x" * 5000: 1}, 400, f"unknown key '{'x' * 100}'; expected"),
        ({"uri": "models:/m/1"}, 409, "it is the version that is served"),
        ({"uri": "models:/m/01"}, 409, "it is the version that is served"),
        ({"uri": "models:/m/99"}, 409, "not found"),
        ({"uri": "models:/m@nobody"}, 409, "not found"),
        ({"uri": "/etc"}, 409, "a candidate comes from the registry"),
        ({"uri": "https://example.org/m.zip"}, 409, "a candidate comes from the registry"),
    ],
)
def test_what_cannot_be_a_candidate_changes_nothing(server: Running, body: Any, status: int, words: str) -> None:
    reply = server.client.put(PUT, json=body)
    assert (reply.status_code, words in reply.json()["error"]) == (status, True), reply.text
    assert server.get(PUT).status_code == 404
    assert ask(server)[0] == "1"


def test_commands_without_a_candidate(server: Running) -> None:
    reply = server.post(PROMOTE)
    assert (reply.status_code, reply.json()) == (409, {"error": "there is no candidate to promote"})
    assert server.client.request("DELETE", PUT).status_code == 200
    assert server.client.put(PUT.replace("model/", "other/"), json={"uri": "models:/m/2"}).status_code == 404


def test_all_workers_change_together(registered: Versions, tmp_path: Path) -> None:
    with process(tmp_path, *flags(registered, "--workers", "2", "--load-trial", "false")) as server:
        put = {"uri": "models:/m/2", "share": 1}
        reply = server.running.client.put(PUT, json=put)
        assert reply.status_code == 200, reply.text
        seen = set()
        for _ in range(30):  # each on a connection of its own, to both workers
            seen.add(ask_anew(server.running.url))
            seen.add(infer(server.running)[0])
        assert seen == {"2"}, "once it is said to be there, nobody is answered by the model"
        assert server.running.client.put(PUT, json=put).json()["version"] == "2"
        counted = server.running.get(PUT).json()["counts"]["candidate"]["requests"]
        assert counted == 60, "of both workers"
        assert server.running.post(PROMOTE).json() == {"name": "model", "promote": True, "version": "2"}
        assert {ask_anew(server.running.url) for _ in range(10)} == {"2"}
        assert state(server.running)["state"] == "none"
        # The alias names version 1 all the time; nobody goes back to it but those who revert.
        assert server.running.post("/v2/repository/models/model/revert").json()["version"] == "1"
        assert {ask_anew(server.running.url) for _ in range(10)} == {"1"}
        assert "Traceback" not in server.log


def ask_anew(url: str) -> str:
    reply = httpx.post(f"{url}/v1/models/model:predict", json={"instances": [[10.0]]}, timeout=20)
    assert reply.status_code == 200, reply.text
    return reply.headers["x-model-version"]


def test_a_worker_that_is_replaced_has_the_candidate_again(registered: Versions, tmp_path: Path) -> None:
    with process(tmp_path, *flags(registered, "--workers", "2", "--load-trial", "false")) as server:
        server.running.client.put(PUT, json={"uri": "models:/m/2", "share": 1}).raise_for_status()
        before = workers_of(server)
        os.kill(before[0], signal.SIGKILL)
        wait_for(lambda: len(workers_of(server)) == 2 and before[0] not in workers_of(server))
        wait_for(lambda: {ask_anew(server.running.url) for _ in range(12)} == {"2"})
        assert server.running.client.request("DELETE", PUT).status_code == 200
        assert {ask_anew(server.running.url) for _ in range(12)} == {"1"}


def test_champion_and_challenger(registered: Versions, tmp_path: Path) -> None:
    """Aliases and a tag are all that an A/B test needs."""
    registered.alias("champion", 1)
    more = ("--candidate", "models:/m@challenger", "--load-trial", "false")
    with process(tmp_path, *flags(registered, *more, uri="models:/m@champion")) as server:
        wait_for(lambda: state(server.running)["reason"] == "models:/m@challenger names no version")
        assert set(split(server.running, 20)) == {"1"}
        registered.tag(2, "100%")
        registered.alias("challenger", 2)
        wait_for(lambda: ask(server.running)[0] == "2")
        registered.tag(2, "50%")
        wait_for(lambda: state(server.running)["share"] == 0.5)
        assert set(split(server.running, 50)) == {"1", "2"}
        registered.tag(3, "100%")
        registered.alias("challenger", 3)
        wait_for(lambda: ask(server.running)[0] == "3")
        registered.alias("champion", 3)  # what both name is the model
        wait_for(lambda: state(server.running)["state"] == "waiting")
        assert set(split(server.running, 20)) == {"3"}
        assert server.running.get("/v2/models/model").json()["versions"] == ["3"]
        registered.alias("challenger", 2)
        wait_for(lambda: state(server.running)["state"] == "ready")
        registered.client.delete_registered_model_alias("m", "challenger")
        wait_for(lambda: state(server.running)["state"] == "waiting")
        assert set(split(server.running, 20)) == {"3"}


def test_a_candidate_stays_beside_the_next_version_of_the_model(registered: Versions, tmp_path: Path) -> None:
    registered.alias("moving", 1)
    with process(tmp_path, *flags(registered, "--load-trial", "false", uri="models:/m@moving")) as server:
        server.running.client.put(PUT, json={"uri": "models:/m/2", "share": 0.5}).raise_for_status()
        registered.alias("moving", 3)
        wait_for(lambda: state(server.running)["model_version"] == "3")
        assert set(split(server.running, 60)) == {"2", "3"}
        assert server.running.post("/v2/repository/models/model/revert").json()["version"] == "1"
        assert set(split(server.running, 40)) == {"1"}, "a revert leaves the model of before alone"
        assert state(server.running)["reason"] == "version 2 was left by a revert"


def test_a_candidate_ends_before_the_model_has_its_version(registered: Versions) -> None:
    """Another registered model has versions of the same names: nobody could tell the two apart."""
    registered.alias("same", 1)
    registered.client.create_registered_model("other")
    for _ in range(3):
        registered.client.create_model_version("other", str(registered.folder / "times-1"))
    with in_thread("models:/m@same", tracking_uri=registered.uri, load_trial=False, reload_interval=0.2) as server:
        server.client.put(PUT, json={"uri": "models:/other/3", "share": 1}).raise_for_status()
        assert ask(server)[0] == "3"
        registered.alias("same", 3)
        wait_for(lambda: state(server).get("model_version") == "3")
        assert set(split(server, 10)) == {"3"}
        assert state(server)["state"] == "waiting"


def test_a_candidate_that_crashes_when_it_is_loaded(registered: Versions, tmp_path: Path) -> None:
    stored = registered.folder / "crash"
    if not stored.exists():
        save(stored, CRASH, data=numbers()[["a"]])
    version = registered.register(stored)
    with process(tmp_path, *flags(registered, "--allow-code-execution")) as server:
        reply = server.running.client.put(PUT, json={"uri": f"models:/m/{version}"})
        assert reply.status_code == 409, reply.text
        assert "its process crashed (Segmentation fault)" in reply.json()["error"]
        assert state(server.running)["state"] == "none"
        assert ask(server.running)[0] == "1"
        assert server.process.poll() is None


def test_a_webhook_tells_of_the_candidates_alias_and_tag(registered: Versions, tmp_path: Path) -> None:
    """Nothing is polled here: only the registry's events make the server ask."""
    (tmp_path / "secret").write_text(SECRET)
    more = ("--candidate", "models:/m@told", "--webhook-secret-file", str(tmp_path / "secret"), "--load-trial", "false")
    with process(tmp_path, *flags(registered, *more, uri="models:/m/1"), "--reload-interval", "3600") as server:
        wait_for(lambda: state(server.running)["reason"] == "models:/m@told names no version")

        def tell(entity: str, **data: str) -> int:
            body = json.dumps({"entity": entity, "action": "created", "data": {"name": "m", **data}}).encode()
            return server.running.client.post("/hooks/mlflow", content=body, headers=delivery(body)).status_code

        assert tell("model_version_alias", alias="other") == 200
        registered.tag(2, "30%")
        registered.alias("told", 2)
        assert tell("model_version_alias", alias="told") == 202
        wait_for(lambda: state(server.running).get("share") == 0.3)
        registered.tag(2, "60%")
        assert tell("model_version_tag", version="2") == 202
        wait_for(lambda: state(server.running).get("share") == 0.6)
        registered.tag(2, "much")
        assert tell("model_version_tag", version="2") == 202
        wait_for(
            lambda: "the tag candidate_share of models:/m/2 is 'much': expected" in state(server.running)["reason"]
        )
        assert state(server.running)["share"] == 0.6, "what is not understood changes nothing"


def test_changes_under_load_fail_no_request(registered: Versions, tmp_path: Path) -> None:
    """Callers on every protocol get the numbers of the version that answers, whatever changes meanwhile."""
    options = ("--workers", "2", "--load-trial", "false")
    with process(tmp_path, *flags(registered, *options)) as server, AskingLoad(server.running) as load:
        client = server.running.client
        for share in (0.5, 1, 0.1, "0%", 0.5, 1):
            assert client.put(PUT, json={"uri": "models:/m/2", "share": share}).status_code == 200
        for _ in range(3):
            assert client.request("DELETE", PUT).status_code == 200
            assert client.put(PUT, json={"uri": "models:/m/2", "mode": "shadow", "share": 1}).status_code == 200
            assert client.put(PUT, json={"uri": "models:/m/2", "share": 0.5}).status_code == 200
            assert client.post(PROMOTE).json()["version"] == "2"
            assert client.post("/v2/repository/models/model/revert").json()["version"] == "1"
        load.__exit__()
        assert not load.failures, (load.failures, server.log[-2000:])
        assert {version for _, _, version in load.answers} == {"1", "2"}
        assert len(load.answers) > 100
        assert "Traceback" not in server.log
