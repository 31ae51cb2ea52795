"""The server as a process: start, readiness, settings, workers and a clean end."""

from __future__ import annotations

import concurrent.futures
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as pb_grpc

from loadtest.peers.ports import free_port
from predictors.storage.source import DEMO
from tests import spawner
from tests.serving import answers, children, cold_process, command, process, wait_for
from tests.zoo.case import numbers
from tests.zoo.python import save

ROWS = {"instances": [[64.2, 0.21, 3, 0.4]]}

LOADS_SLOWLY = """
import mlflow, os, time

class Model(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        while not os.path.exists(os.environ["GATE"]):
            time.sleep(0.01)

    def predict(self, context, model_input):
        return model_input["a"]

mlflow.models.set_model(Model())
"""
ANSWERS_SLOWLY = """
import mlflow, os, time

class Model(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input):
        open(os.environ["STARTED"], "w").close()
        while not os.path.exists(os.environ["GATE"]):
            time.sleep(0.01)
        return model_input["a"]

mlflow.models.set_model(Model())
"""


def ended(
    *flags: str, env: dict[str, str] | None = None, module: str = "predictors.mlflow", cold: bool = False
) -> tuple[int, list[str]]:
    """The status and the lines of a server that cannot start."""
    flags = ("--http-port", str(free_port()), "--grpc-port", str(free_port()), *flags)
    environ = {**os.environ, **(env or {})}
    with tempfile.TemporaryFile() as output:
        if cold:
            code = subprocess.run(command(*flags, module=module), stdout=output, stderr=output, env=environ).returncode
        else:
            code = spawner.start(module, "--host", "127.0.0.1", *flags, output=output, env=environ).wait(120)
        output.seek(0)
        log = output.read().decode()
    assert "Traceback" not in log
    return code, [line for line in log.splitlines() if "ERROR" in line or line.startswith("python -m")]


# -- readiness ------------------------------------------------------------------------------------------------------


def test_alive_but_not_ready_while_the_model_loads(tmp_path: Path) -> None:
    save(tmp_path / "model", LOADS_SLOWLY, data=numbers())
    gate = tmp_path / "gate"
    with cold_process(tmp_path, "--model-uri", str(tmp_path / "model"), env={"GATE": str(gate)}, ready=False) as server:
        client = server.running.client
        wait_for(
            lambda: answers(client, "/health/live") == 200, lambda: server.process.poll() is not None and server.log
        )
        wait_for(lambda: "loading" in client.get("/ready").text)
        for path in (
            "/ready",
            "/health/ready",
            "/v2/health/ready",
            "/v2/models/model/ready",
            "/v1/models/model",
            "/ping",
        ):
            reply = client.get(path)
            assert (reply.status_code, reply.json()["ready"]) == (503, False)
            assert "loading" in reply.json()["error"]
        refused = server.running.predict(ROWS)
        assert (refused.status_code, "loading" in refused.text) == (503, True)
        assert client.get("/metrics").status_code == 200
        gate.touch()
        wait_for(lambda: answers(client, "/ready") == 200)
        assert server.running.predict({"instances": [[1, 2, 3, 4]]}).status_code == 200


def test_health_answers_while_predictions_are_long_and_they_finish_after_sigterm(tmp_path: Path) -> None:
    save(tmp_path / "model", ANSWERS_SLOWLY, data=numbers())
    gate, started = tmp_path / "gate", tmp_path / "started"
    env = {"GATE": str(gate), "STARTED": str(started)}
    with (
        process(tmp_path, "--model-uri", str(tmp_path / "model"), env=env) as server,
        concurrent.futures.ThreadPoolExecutor() as pool,
    ):
        asked = pool.submit(
            httpx.post, f"{server.running.url}/v1/models/model:predict", json={"instances": [[1, 2, 3, 4]]}, timeout=60
        )
        wait_for(started.exists)
        assert server.running.get("/v2/health/live", timeout=10).status_code == 200
        assert server.running.get("/ready", timeout=10).status_code == 200
        server.process.send_signal(signal.SIGTERM)
        gate.touch()
        assert asked.result().json()["predictions"] == [1.0]
        assert server.process.wait(30) == 0


def test_a_prediction_that_never_ends_does_not_hold_the_process(tmp_path: Path) -> None:
    save(tmp_path / "model", ANSWERS_SLOWLY, data=numbers())
    started = tmp_path / "started"
    env = {"GATE": str(tmp_path / "never"), "STARTED": str(started)}
    body = b'{"instances": [[1, 2, 3, 4]]}'
    head = f"POST /v1/models/model:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with (
        process(tmp_path, "--model-uri", str(tmp_path / "model"), "--grace-period", "1", env=env) as server,
        socket.create_connection(("127.0.0.1", int(server.running.url.rpartition(":")[2]))) as raw,
    ):
        raw.sendall(head + body)
        wait_for(started.exists)
        assert server.terminate() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(tmp_path: Path, number: int) -> None:
    with cold_process(tmp_path, "--model-name", "demo") as server:
        assert server.running.predict(ROWS).status_code == 200
        assert server.terminate(number) == 0
        assert "Traceback" not in server.log


# -- what cannot be served ------------------------------------------------------------------------------------------


def test_a_model_that_cannot_load_ends_the_process_with_one_line(tmp_path: Path) -> None:
    shutil.copytree(DEMO, tmp_path / "model")
    (tmp_path / "model" / "model.skops").write_bytes(b"broken")
    code, lines = ended("--model-uri", str(tmp_path / "model"))
    assert code == 1
    assert len(lines) == 1
    assert "cannot be loaded" in lines[0]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--model-uri", "/nowhere/at/all"], "there is no folder /nowhere/at/all"),
        (["--model-local-path", "/nowhere"], "there is no folder /nowhere"),
        (["--flavor", "xgboost"], "has no xgboost flavor"),
    ],
)
def test_a_model_that_is_not_there(flags: list[str], words: str) -> None:
    code, lines = ended(*flags)
    assert (code, len(lines)) == (1, 1)
    assert words in lines[0]


def test_a_missing_framework_is_named_with_its_extra(zoo: Callable[[str], Path], tmp_path: Path) -> None:
    """A real start-up in which Python cannot find the framework."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util\n"
        "found = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'catboost' else found(name, *rest)\n"
    )
    code, lines = ended("--model-uri", str(zoo("catboost-classifier")), env={"PYTHONPATH": str(tmp_path)}, cold=True)
    assert code == 1
    assert "the catboost flavor needs catboost" in lines[0]
    assert "pip install 'mlflow-kserve[catboost]'" in lines[0]


def test_a_model_that_fails_on_its_own_example(tmp_path: Path) -> None:
    from tests.zoo.python import model

    save(tmp_path / "model", model("raise RuntimeError('no luck')"), data=numbers())
    shutil.copy(DEMO / "input_example.json", tmp_path / "model")
    (tmp_path / "model" / "example.json").write_text(
        '{"dataframe_split": {"columns": ["a","b","c","d"], "data": [[1.0,2.0,3.0,4.0]]}}'
    )
    with (tmp_path / "model" / "MLmodel").open("a") as file:
        file.write("\nsaved_input_example_info: {serving_input_path: example.json, type: dataframe}\n")
    code, lines = ended("--model-uri", str(tmp_path / "model"))
    assert code == 1
    assert "fails on its own input example: RuntimeError: no luck (--warm-up=false serves it anyway)" in lines[0]
    with cold_process(tmp_path, "--model-uri", str(tmp_path / "model"), "--warm-up=false") as server:
        assert server.running.predict({"instances": [[1, 2, 3, 4]]}).status_code == 500


# -- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "env", "words"),
    [
        (["--http-port", "many"], {}, "--http-port: 'many' is not usable"),
        (["--http-port", "70000"], {}, "--http-port: '70000' is not usable: expected 0 to 65535"),
        (["--workers", "0"], {}, "--workers: '0' is not usable: expected 1 to 256"),
        (["--nan", "zero"], {}, "--nan: 'zero' is not usable: expected one of null, error"),
        (["--flavor", "keras"], {}, "--flavor: 'keras' is not usable: expected one of"),
        (["--max-body", "huge"], {}, "--max-body: 'huge' is not usable"),
        (["--model-name", "a/b"], {}, "--model-name: expected a name"),
        (["--ssl-certfile", "/x"], {}, "--ssl-certfile and --ssl-keyfile belong together"),
        (["--drift-window", "100rows"], {}, "--drift-window: 100 rows are fewer than the 200 of --drift-min-rows"),
        (["--feast-defaults", "4"], {}, "--feast-defaults: '4' is not usable: expected a JSON object"),
        ([], {"FEAST_FEATURES": "rating"}, "FEAST_FEATURES: 'rating' is not usable: expected references"),
        (
            [],
            {"FEAST_SERVER_URL": "http://a", "FEAST_REPO_PATH": "/a"},
            "FEAST_REPO_PATH and FEAST_SERVER_URL exclude each other: expected one of them",
        ),
        (
            [],
            {"FEAST_FEATURES": "a:b", "FEAST_FEATURE_SERVICE": "c"},
            "FEAST_FEATURE_SERVICE and FEAST_FEATURES exclude each other",
        ),
        ([], {"FEAST_SERVER_URL": "feast:6566"}, "FEAST_SERVER_URL: expected a URL"),
        (["--wrokers", "2"], {}, "unrecognized arguments: --wrokers"),
        ([], {"MLFLOW_KSERVE_WORKERS": "two"}, "MLFLOW_KSERVE_WORKERS: 'two' is not usable"),
    ],
)
def test_bad_settings_end_the_start_with_a_line_that_names_them(
    flags: list[str], env: dict[str, str], words: str
) -> None:
    code, lines = ended(*flags, env=env)
    assert (code, len(lines)) == (2, 1)
    assert words in lines[0]


def test_ports_in_use() -> None:
    with socket.socket() as occupied:
        occupied.bind(("127.0.0.1", 0))
        port = str(occupied.getsockname()[1])
        for flag in ("--http-port", "--grpc-port"):
            code, lines = ended(flag, port)
            assert code == 1
            assert f"{flag} {port} on 127.0.0.1: Address already in use" in lines[0]


@pytest.mark.parametrize(
    ("flags", "env", "name", "version"),
    [
        (["--model_name", "under", "--model_version", "7"], {}, "under", "7"),
        (["--model_dir", str(DEMO)], {"MODEL_NAME": "env", "MODEL_VERSION": "8"}, "env", "8"),
        ([], {"MODEL_URI": str(DEMO), "MLFLOW_KSERVE_MODEL_NAME": "own"}, "own", None),
        ([], {"MLFLOW_MODEL_URI": str(DEMO), "MODEL_URI": "/nowhere"}, "model", None),
        ([], {"MODEL_LOCAL_PATH": str(DEMO), "MODEL_URI": "/nowhere"}, "model", None),
        (["--model-name", "flag"], {"MODEL_NAME": "env"}, "flag", "1"),
    ],
)
def test_flags_and_environment(
    tmp_path: Path, flags: list[str], env: dict[str, str], name: str, version: str | None
) -> None:
    with process(tmp_path, *flags, env=env) as server:
        about = server.running.get(f"/v2/models/{name}").json()
        assert about["name"] == name
        assert version is None or about["versions"] == [version]


def test_a_forced_flavor_has_a_command_of_its_own(tmp_path: Path) -> None:
    with cold_process(tmp_path, "--model-uri", str(DEMO), module="predictors.sklearn") as server:
        assert server.running.get("/v2/models/model").json()["platform"] == "mlflow_sklearn"
    code, lines = ended("--model-uri", str(DEMO), module="predictors.onnx")
    assert code == 1
    assert "has no onnx flavor" in lines[0]


def test_help_is_quick_and_complete() -> None:
    done = subprocess.run(command("--help"), capture_output=True, text=True, timeout=20, check=True)
    for word in (
        "--model-uri",
        "models:/name@alias",
        "MLFLOW_MODEL_URI",
        "--grpc-port",
        "--skops-trusted",
        "--allow-code-execution",
    ):
        assert word in done.stdout


def test_https(tmp_path: Path) -> None:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    new = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-keyout",
        str(key),
        "-out",
        str(cert),
    ]
    subprocess.run([*new, *subject], check=True, capture_output=True)
    import ssl

    trusted = ssl.create_default_context(cafile=str(cert))
    with process(tmp_path, "--ssl_certfile", str(cert), "--ssl_keyfile", str(key), ready=False) as server:
        url = server.running.url.replace("http:", "https:")
        with httpx.Client(base_url=url, verify=trusted) as client:
            wait_for(lambda: answers(client, "/ready") == 200, lambda: server.process.poll() is not None and server.log)
            assert client.post("/v1/models/model:predict", json=ROWS).status_code == 200


# -- workers --------------------------------------------------------------------------------------------------------


def predictions(text: str) -> float:
    lines = [line for line in text.splitlines() if line.startswith("model_predictions_total{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_one_scrape_sums_the_workers_and_a_dead_one_is_replaced(tmp_path: Path) -> None:
    with process(tmp_path, "--workers", "2") as server:
        url = f"{server.running.url}/v1/models/model:predict"
        for _ in range(40):  # a connection each, so that both workers get some
            assert httpx.post(url, json=ROWS).status_code == 200
        scrape = server.running.get("/metrics").text
        assert predictions(scrape) == 40
        assert 'model_loaded{model_name="model",model_version="1"} 1.0' in scrape
        victim = children(server.process.pid)[0]
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: victim not in children(server.process.pid) and len(children(server.process.pid)) == 2)
        with httpx.Client(base_url=server.running.url) as client:
            wait_for(lambda: answers(client, "/ready") == 200)
        assert httpx.post(url, json=ROWS).status_code == 200
        assert server.terminate() == 0


def test_workers_do_not_outlive_the_first_process(tmp_path: Path) -> None:
    with process(tmp_path, "--workers", "2") as server:
        workers = children(server.process.pid)
        assert len(workers) == 2
        server.process.kill()
        server.process.wait()
        wait_for(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
        assert answers(server.running.client, "/ready") is None


def test_grpc_with_workers(tmp_path: Path) -> None:
    with process(tmp_path, "--workers", "2") as server:
        for _ in range(12):  # a connection each
            with grpc.insecure_channel(server.running.grpc) as channel:
                request = pb.ModelInferRequest(model_name="model")
                request.inputs.add(name="x", datatype="FP64", shape=[1, 4]).contents.fp64_contents.extend(
                    [64.2, 0.21, 3, 0.4]
                )
                reply = pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=20)
                assert list(reply.outputs[0].contents.int64_contents) == [0]
        assert predictions(server.running.get("/metrics").text) == 12
        assert server.terminate() == 0


def test_workers_that_cannot_load_end_the_process(tmp_path: Path) -> None:
    code, lines = ended("--workers", "2", "--model-uri", "/nowhere")
    assert code == 1
    assert "there is no folder /nowhere" in lines[0]


def test_unloading_counts_for_all_workers(tmp_path: Path) -> None:
    with process(tmp_path, "--workers", "2") as server:
        url = server.running.url
        assert server.running.post("/v2/repository/models/model/unload").status_code == 200
        statuses: list[Any] = [httpx.post(f"{url}/v1/models/model:predict", json=ROWS).status_code for _ in range(12)]
        assert statuses == [503] * 12
        assert server.running.post("/v2/repository/models/model/load").status_code == 200
        statuses = [httpx.post(f"{url}/v1/models/model:predict", json=ROWS).status_code for _ in range(12)]
        assert statuses == [200] * 12


# -- workers that share the model -----------------------------------------------------------------------------------

# A module that comes with a model: it holds up loading, and may leave a thread behind.
COMES_ALONG = """
import os, threading, time
from sklearn.dummy import DummyClassifier

class Model(DummyClassifier):
    def __setstate__(self, state):
        super().__setstate__(state)
        while not os.path.exists(os.environ.get("GATE", "/")):
            time.sleep(0.01)
        if "THREAD" in os.environ:
            threading.Thread(target=threading.Event().wait, daemon=True).start()
"""


@pytest.fixture(scope="module")
def own_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scikit-learn model with code of its own, which can be made to load slowly."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "comes_along.py").write_text(COMES_ALONG)
    script = """
import mlflow.sklearn, comes_along
model = comes_along.Model(strategy="constant", constant=1).fit([[0.0] * 4] * 2, [0, 1])
mlflow.sklearn.save_model(model, "model", serialization_format="pickle", code_paths=["comes_along.py"])
"""
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=True, capture_output=True)
    return folder / "model"


def memory(pid: int) -> float:
    """MiB of a process and those that it started; what they share is counted once."""
    pages = Path(f"/proc/{pid}/smaps_rollup").read_text()
    mine = next(int(line.split()[1]) for line in pages.splitlines() if line.startswith("Pss:"))
    return mine / 1024 + sum(map(memory, children(pid)))


def test_workers_share_the_memory_of_the_model(tmp_path: Path) -> None:
    with cold_process(tmp_path) as server:
        alone = memory(server.process.pid)
    with cold_process(tmp_path, "--workers", "3") as server:
        assert len(children(server.process.pid)) == 3
        for _ in range(12):
            assert httpx.post(f"{server.running.url}/v1/models/model:predict", json=ROWS).status_code == 200
        assert (memory(server.process.pid) - alone) / 2 < 0.6 * alone
        assert server.log.count("loading the demo model") == 1


def test_a_worker_that_takes_the_place_of_another_has_the_model_already(tmp_path: Path) -> None:
    with process(tmp_path, "--workers", "2") as server:
        for _ in range(3):
            before = children(server.process.pid)
            os.kill(before[0], signal.SIGKILL)
            wait_for(lambda before=before: len(set(children(server.process.pid)) - set(before)) == 1)
            with httpx.Client(base_url=server.running.url) as client:
                wait_for(lambda client=client: answers(client, "/ready") == 200)
        url = f"{server.running.url}/v1/models/model:predict"
        assert [httpx.post(url, json=ROWS).status_code for _ in range(12)] == [200] * 12
        assert server.log.count("loading the demo model") == 1
        assert server.terminate() == 0


def test_a_worker_can_load_its_own_copy_later(tmp_path: Path) -> None:
    with process(tmp_path, "--workers", "2") as server:
        for _ in range(4):
            assert httpx.post(f"{server.running.url}/v2/repository/models/model/load", timeout=60).status_code == 200
        url = f"{server.running.url}/v1/models/model:predict"
        assert [httpx.post(url, json=ROWS).status_code for _ in range(12)] == [200] * 12
        assert server.log.count("loading the demo model") == 5


def test_nobody_is_turned_away_while_workers_start(tmp_path: Path, own_code: Path) -> None:
    gate = tmp_path / "gate"
    env = {"GATE": str(gate)}
    with process(
        tmp_path, "--workers", "2", "--model-uri", str(own_code), "--grace-period", "20", env=env, ready=False
    ) as server:
        url = server.running.url
        with httpx.Client(base_url=url, timeout=60) as client:
            wait_for(lambda: answers(client, "/v2/health/live") == 200)
        over = threading.Event()

        def ask(path: str) -> list[int]:
            seen: list[int] = []
            while not over.wait(0.005):
                seen.append(httpx.get(url + path, timeout=60).status_code)  # a connection each
            return [*seen, httpx.get(url + path, timeout=60).status_code]

        def ask_on_one_connection() -> list[int]:
            seen: list[int] = []
            with httpx.Client(base_url=url, timeout=60) as client:
                while not over.wait(0.005):
                    seen.append(client.get("/v2/health/ready").status_code)
                return [*seen, client.get("/v2/health/ready").status_code]

        def ask_grpc() -> list[int]:
            seen: list[int] = []
            with grpc.insecure_channel(server.running.grpc) as channel:
                stub = health_pb2_grpc.HealthStub(channel)
                while not over.wait(0.005):
                    seen.append(stub.Check(health_pb2.HealthCheckRequest(), timeout=60).status)
                return [*seen, stub.Check(health_pb2.HealthCheckRequest(), timeout=60).status]

        with concurrent.futures.ThreadPoolExecutor() as pool:
            try:
                live, ready = pool.submit(ask, "/v2/health/live"), pool.submit(ask, "/v2/health/ready")
                kept, rpc = pool.submit(ask_on_one_connection), pool.submit(ask_grpc)
                with httpx.Client(base_url=url, timeout=60) as client:
                    wait_for(lambda: "loading" in client.get("/ready").text)
                    gate.touch()
                    wait_for(lambda: client.get("/ready").status_code == 200)
                    assert len(children(server.process.pid)) == 2
            finally:
                over.set()
        assert set(live.result()) == {200}
        for seen in (ready.result(), kept.result()):
            assert set(seen) == {503, 200}
            assert seen == sorted(seen, reverse=True), "ready, and then not again"
        assert set(rpc.result()) == {health_pb2.HealthCheckResponse.NOT_SERVING, health_pb2.HealthCheckResponse.SERVING}
        assert server.running.predict({"instances": [[1, 2, 3, 4]]}).json()["predictions"] == [1]


def test_a_signal_while_workers_wait_for_the_model(tmp_path: Path, own_code: Path) -> None:
    env = {"GATE": str(tmp_path / "never")}
    with process(tmp_path, "--workers", "2", "--model-uri", str(own_code), env=env, ready=False) as server:
        wait_for(lambda: answers(server.running.client, "/v2/health/live") == 200)
        wait_for(lambda: "loading" in server.running.get("/ready").text)
        started = children(server.process.pid)
        assert server.terminate() == 0
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started))
        assert "ERROR" not in server.log


def test_nothing_is_shared_where_loading_leaves_threads(tmp_path: Path, own_code: Path) -> None:
    """A fork would lose them: each worker loads the model for itself."""
    with process(tmp_path, "--workers", "2", "--model-uri", str(own_code), env={"THREAD": "1"}) as server:
        assert "each worker loads the model for itself: loading it started threads" in server.log
        url = f"{server.running.url}/v1/models/model:predict"
        replies = [httpx.post(url, json={"instances": [[1, 2, 3, 4]]}).json()["predictions"] for _ in range(12)]
        assert replies == [[1]] * 12
        (deputy,) = children(server.process.pid)
        workers = children(deputy)
        assert len(workers) == 2
        assert server.terminate() == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in (deputy, *workers))


def test_a_broken_model_ends_all_workers(tmp_path: Path) -> None:
    shutil.copytree(DEMO, tmp_path / "model")
    (tmp_path / "model" / "model.skops").write_bytes(b"broken")
    code, lines = ended("--workers", "2", "--model-uri", str(tmp_path / "model"))
    assert (code, len(lines)) == (1, 1)
    assert "cannot be loaded" in lines[0]
