"""`make costs`: measures what drift, the prediction log, a candidate and feature lookups cost.

Servers with and without the feature run in turns on one core, with the load generator on another. The comparison is of
requests per second of processor time, round by round, which a busy neighbour hardly changes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import pandas as pd

from loadtest.peers.client import status
from loadtest.peers.load import LoadedPort, wrk
from loadtest.peers.payloads import PeerPayload
from loadtest.peers.place import PYTHON, ROOT, cores, stay_off_the_servers_core
from loadtest.peers.ports import free_port
from loadtest.peers.process import BenchmarkFailed, Child
from predictors.drift import attach, profile
from predictors.features.demo import SERVICE, build
from predictors.features.library import feast
from tools.demo_feast import log_model
from tools.make_demo import machines

JSON = {"content-type": "application/json"}
CONNECTIONS = 16
WIDE_COLUMNS = 30


@contextmanager
def served(model: Path, work: Path, *flags: str, env: Mapping[str, str] | None = None) -> Iterator[LoadedPort]:
    port, other = free_port(), free_port()
    work.mkdir()
    argv = [str(PYTHON), "-m", "predictors.mlflow", f"--model-dir={model}", f"--http-port={port}"]
    child = Child([*argv, f"--grpc-port={other}", *flags], cores()[0], work / "server.log", ROOT, env)
    try:
        while status(port, "/v2/health/ready") != 200:
            if child.exited() is not None or time.perf_counter() - child.started > 120:
                raise BenchmarkFailed(f"the server is not ready:\n{child.tail()}")
            time.sleep(0.05)
        yield LoadedPort(child, port, work)
    finally:
        child.stop()


def demo_model(folder: Path) -> tuple[Path, PeerPayload]:
    """The demo model, and a request with one row."""
    data, _ = machines(2000, seed=7)
    shutil.copytree(ROOT / "predictors" / "demo", folder)
    attach(profile(data), folder)
    return folder, request(data.iloc[:1])


def another_version(model: Path, folder: Path) -> Path:
    """The same model under another id, which is its version."""
    shutil.copytree(model, folder)
    mlmodel = folder / "MLmodel"
    mlmodel.write_text(re.sub(r"(?m)^model_uuid: .*", f"model_uuid: {'2' * 32}", mlmodel.read_text()))
    return folder


def wide_model(folder: Path) -> tuple[Path, PeerPayload]:
    import mlflow
    from mlflow.models import infer_signature
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(1)
    data = pd.DataFrame(
        random.normal(size=(2000, WIDE_COLUMNS)), columns=[f"f{number}" for number in range(WIDE_COLUMNS)]
    )
    model = LogisticRegression().fit(data, data.sum(axis=1) > 0)
    mlflow.sklearn.save_model(
        model, folder, signature=infer_signature(data, model.predict(data)), pip_requirements=["scikit-learn"]
    )
    attach(profile(data), folder)
    return folder, request(data.iloc[:1])


def request(row: pd.DataFrame) -> PeerPayload:
    body = json.dumps({"instances": row.to_dict("records")}).encode()
    return PeerPayload("/v1/models/model:predict", body, lambda reply, headers: [])


def compare(
    name: str, work: Path, model: Path, post: PeerPayload, variants: Mapping[str, list[str]], rounds: int
) -> None:
    """Compares all variants with the first one."""
    with ExitStack() as stack:
        targets = {
            each: stack.enter_context(served(model, work / f"{name}-{number}", *flags))
            for number, (each, flags) in enumerate(variants.items())
        }
        rates: dict[str, list[float]] = {each: [] for each in variants}
        for target in targets.values():
            wrk(target, [post], connections=CONNECTIONS, seconds=1)
        for round_number in range(rounds):
            for each in sorted(targets, reverse=bool(round_number % 2)):
                rates[each].append(wrk(targets[each], [post], connections=CONNECTIONS, seconds=2).per_cpu_second)
    first, *others = variants
    print(f"| {name} | {first} | {statistics.median(rates[first]):,.0f} | 1 | |")
    for each in others:
        ratios = [mine / base for mine, base in zip(rates[each], rates[first], strict=True)]
        low, high = np.quantile(ratios, [0.25, 0.75])
        print(
            f"| {name} | {each} | {statistics.median(rates[each]):,.0f} | {statistics.median(ratios):.3f} "
            f"| {low:.3f}–{high:.3f} |",
            flush=True,
        )


def features(work: Path, rounds: int) -> None:
    """Compares requests whose features are looked up, requests that send everything, and Feast alone."""
    warnings.simplefilter("ignore")
    repository, model = build(work / "feast"), log_model(work / "rides")
    store = feast().FeatureStore(repo_path=str(repository))
    names = ["driver_stats:rating", "driver_stats:trips", "customer_stats:orders"]
    service = store.get_feature_service(SERVICE)
    key = {"driver_id": 1001, "customer_id": "ada"}
    known = {"distance": 4.5, "rating": 4.75, "trips": 12, "orders": 3}
    with served(model, work / "features", env={**os.environ, "FEAST_REPO_PATH": str(repository)}) as target:
        connection = HTTPConnection("127.0.0.1", target.port)

        def ask(row: Mapping[str, object]) -> Callable[[], None]:
            body = json.dumps({"instances": [row]})

            def run() -> None:
                connection.request("POST", "/v1/models/model:predict", body, JSON)
                reply = connection.getresponse()
                reply.read()
                if reply.status != 200:
                    raise BenchmarkFailed(f"the server answers {reply.status}")

            return run

        ways = {
            "get_online_features with the three features": lambda: store.get_online_features(names, [key]).to_dict(),
            "get_online_features with the feature service": lambda: store.get_online_features(
                service, [key | {"distance": 4.5}]
            ).to_dict(),
            "request, everything sent": ask(known),
            "request, features looked up": ask(key | {"distance": 4.5}),
        }
        durations: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds * 50):
            for way, run in ways.items():
                begun = time.perf_counter()
                run()
                durations[way].append(time.perf_counter() - begun)
    medians = {way: statistics.median(times) * 1e3 for way, times in durations.items()}
    for way, median in medians.items():
        print(f"| {way} | {median:.2f} ms |")
    alone, whole, sent, looked_up = medians.values()
    added = looked_up - sent
    print(f"\nlooking up adds {added:.2f} ms: {added / alone:.2f} and {added / whole:.2f} times get_online_features")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make costs", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    stay_off_the_servers_core()
    with tempfile.TemporaryDirectory(prefix="costs-") as folder:
        work = Path(folder)
        print("| model | | requests per CPU second | ratio | middle half |\n|---|---|---|---|---|")
        off = ["--drift=off"]
        for name, (model, post) in {
            "demo": demo_model(work / "demo"),
            f"{WIDE_COLUMNS} features": wide_model(work / "wide"),
        }.items():
            compare(name, work, model, post, {"drift off": off, "drift on": [], "off again": off}, rounds)
        logged = [f"--prediction-log={work / 'log'}", *off]
        shares = {f"log of {share}": [*logged, f"--prediction-log-sample={share}"] for share in ("0.01", "0.1", "1")}
        compare("demo, log", work, work / "demo", demo_model(work / "again")[1], {"no log": off} | shares, rounds)
        beside = [f"--candidate={another_version(work / 'demo', work / 'next')}", "--load-trial=false", *off]
        roles = {
            "split of 10 %": [*beside, "--candidate-share=10%"],
            "split by a header": [*beside, "--candidate-share=10%", "--candidate-key=header:host"],
            "shadow of all": [*beside, "--candidate-share=1", "--candidate-mode=shadow"],
        }
        compare("demo, candidate", work, work / "demo", demo_model(work / "third")[1], {"alone": off} | roles, rounds)
        print("\n| | median |\n|---|---|")
        features(work, rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
