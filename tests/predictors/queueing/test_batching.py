"""Requests that are answered together: each gets what it gets alone."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import httpx
import numpy as np
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as pb_grpc

from predictors.engines.engine import Answer, Declined, ProvenEngine
from predictors.model.open_model import open_model
from predictors.pipeline.settings import Settings
from predictors.queueing.batching import MicroBatcher
from predictors.storage.source import resolve
from tests.predictors.telemetry.test_metrics import samples
from tests.predictors.watched import SpiedBatcher
from tests.serving import Running, in_thread, wait_for

Ask: TypeAlias = Callable[[], Any]
Zoo: TypeAlias = Callable[[str], Path]


# -- through servers --------------------------------------------------------------------------------------------------

NAMES = "abcd"


class HeldAsking:
    """The same rows in every protocol; replies are plain values without times."""

    def __init__(self, server: Running, random: np.random.Generator) -> None:
        self.server = server
        self.random = random
        self.stub = pb_grpc.GRPCInferenceServiceStub(grpc.insecure_channel(server.grpc))
        self.client = httpx.Client(base_url=server.url, timeout=60, limits=httpx.Limits(max_connections=64))

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Any:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        reply = self.client.post(path, content=content, headers=headers or {"Content-Type": "application/json"})
        return reply.status_code, reply.content

    def request(self, rows: Any) -> Ask:
        """A request for these rows in a protocol by chance."""
        name = self.server.name
        v1, v2 = f"/v1/models/{name}:predict", f"/v2/models/{name}/infer"
        probabilities = bool(self.random.integers(2))
        options = {"parameters": {"probabilities": probabilities}}
        values = rows.tolist()
        records = [dict(zip(NAMES, row, strict=True)) for row in values]
        tensor = {"name": "x", "shape": list(rows.shape), "datatype": "FP64"}
        raw = {**tensor, "parameters": {"binary_data_size": rows.nbytes}}
        head = json.dumps(
            {"inputs": [raw], "parameters": {"binary_data_output": True, **options["parameters"]}}
        ).encode()
        length = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
        message = pb.ModelInferRequest(model_name=name)
        message.parameters["probabilities"].bool_param = probabilities
        message.inputs.add(name="x", datatype="FP64", shape=rows.shape).contents.fp64_contents.extend(rows.reshape(-1))
        choices: list[Ask] = [
            lambda: self.post(v1, {"instances": values, **options}),
            lambda: self.post(f"{v1}?x=1", {"instances": records, **options}),
            lambda: self.post(v2, {"inputs": [{**tensor, "data": values}], **options}),
            lambda: self.post(v2, head + rows.tobytes(), length),
            lambda: self.post("/invocations", {"dataframe_records": records, "params": options["parameters"]}),
            lambda: self.stub.ModelInfer(message).SerializeToString(deterministic=True),
        ]
        return choices[self.random.integers(len(choices))]


MODELS = [
    "sklearn-logistic",
    "sklearn-forest-text-labels",
    "sklearn-svc",
    "xgboost-classifier",
    "xgboost-booster",
    "lightgbm-classifier",
    "catboost-classifier",
]


@pytest.mark.parametrize("model", MODELS)
def test_every_caller_gets_exactly_its_own_rows(zoo: Zoo, watched: SpiedBatcher, model: str) -> None:
    random = np.random.default_rng(7)
    with in_thread(zoo(model), engine="native") as server, concurrent.futures.ThreadPoolExecutor(24) as pool:
        asking = HeldAsking(server, random)
        sizes = [1, 1, 1, 1, 2, 7, 30, 200]
        requests = [asking.request(random.normal(size=(size, 4)) * 2) for size in random.choice(sizes, 60)]
        alone = [ask() for ask in requests]
        assert all(type(reply) is bytes or reply[0] == 200 for reply in alone)
        watched.batches.clear()
        watched.gate.clear()
        replies = [pool.submit(ask) for ask in requests]
        wait_for(lambda: in_flight(server) >= 16)
        watched.gate.set()
        assert [reply.result(60) for reply in replies] == alone
        assert max(map(len, watched.batches)) >= 10  # they were answered together


def in_flight(server: Running) -> float:
    return samples(server)["model_requests_in_flight", (("model_name", server.name),)]


BAD_ROWS = {
    "null": [[None, 2, 3, 4]],
    "too narrow": [[1, 2, 3]],
    "text": [["x", 2, 3, 4]],
    "ragged": [[1, 2, 3, 4], [1]],
}


@pytest.mark.parametrize("model", ["sklearn-logistic", "sklearn-forest-text-labels", "catboost-classifier"])
def test_who_is_wrong_fails_alone(zoo: Zoo, watched: SpiedBatcher, model: str) -> None:
    random = np.random.default_rng(3)
    with in_thread(zoo(model)) as server, concurrent.futures.ThreadPoolExecutor(24) as pool:
        asking = HeldAsking(server, random)
        requests = [asking.request(random.normal(size=(2, 4))) for _ in range(12)]
        path, binary = "/v1/models/model:predict", "/v2/models/model/infer"
        requests[3:3] = [partial(asking.post, path, {"instances": rows}) for rows in BAD_ROWS.values()]
        for odd in (np.inf, -np.inf, np.nan, 1e300):
            body, headers = binary_body(np.array([[1, 2, 3, 4], [1, odd, 3, 4]]))
            requests.insert(7, partial(asking.post, binary, body, headers))
        alone = [ask() for ask in requests]
        assert sum(type(reply) is tuple and reply[0] == 400 for reply in alone) >= len(BAD_ROWS) - 1  # some take null
        watched.gate.clear()
        replies = [pool.submit(ask) for ask in requests]
        wait_for(lambda: in_flight(server) >= 12)
        watched.gate.set()
        assert [reply.result(60) for reply in replies] == alone
        wait_for(lambda: in_flight(server) == 0)


def binary_body(rows: Any) -> tuple[bytes, dict[str, str]]:
    tensor = {
        "name": "x",
        "shape": list(rows.shape),
        "datatype": "FP64",
        "parameters": {"binary_data_size": rows.nbytes},
    }
    head = json.dumps({"inputs": [tensor]}).encode()
    length = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    return head + rows.tobytes(), length


def test_a_slow_engine_blocks_nobody_else(zoo: Zoo, watched: SpiedBatcher) -> None:
    """While it is at work everything else is answered, and what comes for it gathers."""
    with in_thread(zoo("sklearn-logistic")) as server, concurrent.futures.ThreadPoolExecutor(20) as pool:
        asking = HeldAsking(server, np.random.default_rng(1))
        one = asking.request(np.ones((1, 4)))
        alone = one()
        watched.batches.clear()
        watched.gate.clear()
        with watched.one_more():
            first = pool.submit(one)
        others = [pool.submit(one) for _ in range(15)]
        wait_for(lambda: in_flight(server) >= 16)
        for path in ("/v2/health/live", "/v2/health/ready", "/metrics", "/v2/models/model"):
            assert server.get(path).status_code == 200
        assert watched.batches == [[1]]
        assert not first.done()
        watched.gate.set()
        assert [reply.result(60) for reply in (first, *others)] == [alone] * 16
        assert watched.batches == [[1], [1] * 15]


def test_nobody_waits_when_nothing_is_to_be_done(zoo: Zoo, watched: SpiedBatcher) -> None:
    with in_thread(zoo("sklearn-logistic")) as server:
        one = HeldAsking(server, np.random.default_rng(1)).request(np.ones((3, 4)))
        for _ in range(3):
            one()
        assert watched.batches == [[3]] * 3


# -- the batcher by itself --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def proven(zoo: Zoo) -> ProvenEngine:
    """A real model's engine."""
    settings = Settings(model_uri=str(zoo("sklearn-logistic")))
    model = open_model(settings, resolve(settings, lambda text: None))
    model.load()
    proven_engine = model.require_loaded().choice.proven
    assert proven_engine is not None
    return proven_engine


def run(proven: ProvenEngine, story: Callable[[MicroBatcher], Any]) -> Any:
    """Tells a story on an event loop of its own; it must not leave anything in the loop."""

    async def tell() -> Any:
        loop, troubles = asyncio.get_running_loop(), []
        loop.set_exception_handler(lambda loop, context: troubles.append(context))
        with concurrent.futures.ThreadPoolExecutor(4) as executor:
            batcher = MicroBatcher(proven, loop, executor, 1)
            outcome = await asyncio.wait_for(story(batcher), 20)
            assert (batcher.running, len(batcher.queue)) == (0, 0)
        assert not troubles
        return outcome

    return asyncio.run(tell())


def some_rows(count: int) -> Any:
    return np.random.default_rng(count).normal(size=(count, 4))


@pytest.mark.parametrize("slow", [False, True])
def test_rows_together_are_bounded(proven: ProvenEngine, slow: bool) -> None:
    watched = SpiedBatcher(max_rows=50)
    around = watched.around(proven)
    around = around if slow else replace(around, first_row_seconds=0.0)

    async def story(batcher: MicroBatcher) -> Any:
        return await asyncio.gather(*(batcher.answer(some_rows(count), True) for count in sizes))

    sizes = [20, 20, 20, 1, 49, 1, 200, 3, 3, 60, 10]
    answers = run(around, story)
    for count, (predictions, probabilities) in zip(sizes, answers, strict=True):
        labels, shares = proven.engine.run(some_rows(count), True)
        assert shares is not None
        assert np.array_equal(predictions, labels)
        assert np.array_equal(probabilities, shares)
    assert [size for batch in watched.batches for size in batch] == sizes  # in order, each once
    assert all(sum(batch) <= 50 or len(batch) == 1 for batch in watched.batches)
    assert max(map(len, watched.batches)) > 1


def test_probabilities_for_those_who_want_them(proven: ProvenEngine) -> None:
    async def story(batcher: MicroBatcher) -> Any:
        wanted = [index % 2 == 0 for index in range(6)]
        return await asyncio.gather(*(batcher.answer(some_rows(2), want) for want in wanted))

    answers = run(proven, story)
    assert [probabilities is not None for _, probabilities in answers] == [True, False] * 3


def test_a_caller_that_goes_away_harms_nobody(proven: ProvenEngine) -> None:
    watched = SpiedBatcher()

    async def story(batcher: MicroBatcher) -> Any:
        watched.gate.clear()
        tasks = [asyncio.create_task(batcher.answer(some_rows(n), True)) for n in (1, 2, 3, 4)]
        while not watched.batches:
            await asyncio.sleep(0)
        tasks[0].cancel()
        more = [asyncio.create_task(batcher.answer(some_rows(n), True)) for n in (5, 6, 7)]
        await asyncio.sleep(0)
        more[1].cancel()
        watched.gate.set()
        return await asyncio.gather(*tasks, *more, return_exceptions=True)

    answers = run(watched.around(proven), story)
    assert [type(one) is asyncio.CancelledError for one in answers] == [True, False, False, False, False, True, False]
    for count, answer in zip(range(1, 8), answers, strict=True):
        if isinstance(answer, tuple):
            _, shares = proven.engine.run(some_rows(count), True)
            assert shares is not None
            assert np.array_equal(answer[1], shares)


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize("alone", [False, True])
def test_a_reply_that_fails_keeps_nobody_else_from_theirs(proven: ProvenEngine, slow: bool, alone: bool) -> None:
    engine = replace(proven, first_row_seconds=1.0 if slow else 0.0, joint=None if alone else proven.joint)

    async def story(batcher: MicroBatcher) -> list[int]:
        answered: list[int] = []
        every = asyncio.Event()

        def done(number: int, answer: Any) -> None:
            answered.append(number)
            if len(answered) == 6:
                every.set()
            if number % 3 == 0:
                raise RuntimeError(f"the reply of {number}")

        for number in range(6):
            batcher.submit(some_rows(1), True, partial(done, number))
        await every.wait()
        await batcher.answer(some_rows(1), True)  # and it goes on
        return answered

    assert run(engine, story) == list(range(6))


def test_an_engine_that_ends_the_process_is_declined(proven: ProvenEngine) -> None:
    """The code of others must not end the server, nor leave its callers without a reply."""

    def leaving(rows: Any, probabilities: bool) -> Answer:
        raise SystemExit(3)

    engine = replace(proven, engine=replace(proven.engine, run=leaving), joint=leaving, first_row_seconds=1.0)

    async def story(batcher: MicroBatcher) -> Any:
        return await asyncio.gather(*(batcher.answer(some_rows(1), True) for _ in range(3)), return_exceptions=True)

    assert [type(one) for one in run(engine, story)] == [Declined] * 3
