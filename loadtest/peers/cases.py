"""The cases: what is compared with which peer, with a floor to reach and a goal to aim for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from loadtest.peers import payloads
from loadtest.peers.payloads import PeerPayload
from loadtest.peers.servers import (
    ECHO,
    MLFLOW,
    MLFLOW_HERE,
    MLSERVER,
    OTHER,
    OURS,
    OURS_DOUBLES,
    OURS_NATIVE,
    OURS_PROBABILITIES,
    STOCK,
    TUNED,
)

Kind = Literal["throughput", "grpc", "latency", "tail", "start", "memory", "workers", "big"]
MakePayload = Callable[[Any], PeerPayload]

IN_PROCESS = "parse + predict + dump"
MAX_LOSS = 0.02


@dataclass(frozen=True, slots=True)
class Bar:
    """One comparison of a case; without floor and goal it is informative only."""

    ours: str
    peer: str | None
    floor: float | None = None
    goal: float | None = None


@dataclass(frozen=True, slots=True)
class BenchmarkCase:
    name: str
    title: str
    kind: Kind
    model: str
    bars: tuple[Bar, ...]
    rows: int = 1
    connections: int = 16
    # Payloads by server; servers without an entry get the same as ours.
    payload: MakePayload = payloads.v1
    payload_of: dict[str, MakePayload] = field(default_factory=dict)
    quick: bool = False

    @property
    def higher_is_better(self) -> bool:
        return self.kind in ("throughput", "grpc")

    @property
    def contenders(self) -> list[str]:
        """The servers of the case, in the order of the bars."""
        named = [who for bar in self.bars for who in (bar.ours, bar.peer) if who]
        return list(dict.fromkeys(named))

    def payload_for(self, who: str, rows: Any) -> PeerPayload:
        return self.payload_of.get(who, self.payload)(rows)

    def against_other(self) -> BenchmarkCase:
        """The same case as a comparison of two checkouts: the first may be 2 % worse at most."""
        floor = 1 - MAX_LOSS if self.higher_is_better else 1 + MAX_LOSS
        return replace(self, bars=(Bar(OURS, OTHER, floor, 1.0),))


CASES = (
    BenchmarkCase(
        "lr-v1-1",
        "LogisticRegression, V1, 1 row",
        "throughput",
        "lr",
        (
            Bar(OURS, STOCK, 12, 20),
            Bar(OURS, TUNED, 9),
            Bar(OURS, MLFLOW, 15),
            Bar(OURS, ECHO, None, 0.7),
            Bar(OURS_NATIVE, STOCK, 2.5, 4),
            Bar(OURS_PROBABILITIES, STOCK),
        ),
        payload_of={MLFLOW: payloads.invocations_inputs},
        quick=True,
    ),
    BenchmarkCase(
        "lr-v1-100", "LogisticRegression, V1, 100 rows", "throughput", "lr", (Bar(OURS, STOCK, 6, 10),), rows=100
    ),
    BenchmarkCase(
        "lr-v2-1",
        "LogisticRegression, V2 JSON, 1 row",
        "throughput",
        "lr",
        (Bar(OURS, STOCK, 13, 20), Bar(OURS, MLSERVER, 15, 25)),
        payload=payloads.v2,
        quick=True,
    ),
    BenchmarkCase(
        "lr-v2-100",
        "LogisticRegression, V2 JSON, 100 rows",
        "throughput",
        "lr",
        (Bar(OURS, STOCK, 9, 13), Bar(OURS, MLSERVER, 8, 12)),
        rows=100,
        payload=payloads.v2,
    ),
    BenchmarkCase(
        "lr-v2-binary-100",
        "LogisticRegression, V2 binary, 100 rows",
        "throughput",
        "lr",
        (Bar(OURS, STOCK, 15, 25),),
        rows=100,
        payload=payloads.v2_binary,
        quick=True,
    ),
    BenchmarkCase(
        "named-records-1",
        "Named columns, records, 1 row",
        "throughput",
        "lr-named",
        (Bar(OURS, MLFLOW, 25, 40),),
        payload=payloads.v1_records,
        payload_of={MLFLOW: payloads.invocations_records},
    ),
    BenchmarkCase(
        "named-split-1",
        "Named columns, dataframe_split, 1 row",
        "throughput",
        "lr-named",
        (Bar(OURS, MLFLOW, 25, 40),),
        payload=payloads.invocations_split,
    ),
    BenchmarkCase(
        "named-v2-1",
        "Named columns, V2 one input per column, 1 row",
        "throughput",
        "lr-named",
        (Bar(OURS, MLSERVER, 25, 40),),
        payload=payloads.v2_columns,
        payload_of={MLSERVER: partial(payloads.v2_columns, content_type="pd")},
    ),
    BenchmarkCase(
        "rf-v1-1",
        "RandomForest 100 × depth 8, V1, 1 row",
        "throughput",
        "rf",
        (Bar(OURS, STOCK, 80, 150), Bar(OURS_NATIVE, STOCK, 12, 18)),
        quick=True,
    ),
    BenchmarkCase(
        "rf-v1-100",
        "RandomForest 100 × depth 8, V1, 100 rows",
        "throughput",
        "rf",
        (Bar(OURS, STOCK, 12, 18),),
        rows=100,
    ),
    BenchmarkCase(
        "text-lr-1",
        "A column of text, LogisticRegression, 1 row",
        "throughput",
        "text-lr",
        (Bar(OURS, MLFLOW, 40, 100),),
        payload=payloads.v1_table,
        payload_of={MLFLOW: payloads.invocations_table},
        quick=True,
    ),
    BenchmarkCase(
        "text-lr-100",
        "A column of text, LogisticRegression, 100 rows",
        "throughput",
        "text-lr",
        (Bar(OURS, MLFLOW, 10, 25),),
        rows=100,
        payload=payloads.invocations_table,
    ),
    BenchmarkCase(
        "text-rf-1",
        "A column of text, RandomForest 100 × depth 8, 1 row",
        "throughput",
        "text-rf",
        (Bar(OURS, MLFLOW, 40, 100),),
        payload=payloads.v1_table,
        payload_of={MLFLOW: payloads.invocations_table},
    ),
    *(
        BenchmarkCase(
            f"{kind}-lr-1",
            f"LogisticRegression on columns of {title}, 1 row",
            "throughput",
            f"{kind}-lr",
            (Bar(OURS, OURS_DOUBLES, 0.9, 1.0),),
            payload=payloads.v1_table,
            payload_of={OURS_DOUBLES: payloads.v1_table_as_doubles},
        )
        for kind, title in (("integers", "integers"), ("booleans", "booleans"), ("singles", "single precision"))
    ),
    *(
        BenchmarkCase(
            f"real-{kind}-1",
            f"20 columns (text, numbers, nulls, a date), {title}, 1 row",
            "throughput",
            f"real-{kind}",
            (Bar(OURS, MLFLOW, 40, 80),),
            payload=payloads.invocations_table,
        )
        for kind, title in (("hgb", "HistGradientBoosting"), ("lgb", "LightGBM"))
    ),
    BenchmarkCase(
        "tfidf-lr-1",
        "TfidfVectorizer, LogisticRegression, 1 sentence",
        "throughput",
        "tfidf-lr",
        (Bar(OURS, STOCK, 5, 10), Bar(OURS, MLFLOW)),
        payload=payloads.v1_texts,
        payload_of={MLFLOW: payloads.invocations_texts},
    ),
    *(
        BenchmarkCase(
            f"{model}-{connections}",
            f"{title}, {connections} {'connection' if connections == 1 else 'connections'}",
            "throughput",
            model,
            (Bar(OURS, STOCK, floor, goal), Bar(OURS, MLFLOW_HERE)),
            connections=connections,
            payload=payloads.v1_numbers,
            payload_of={MLFLOW_HERE: payloads.invocations_numbers},
        )
        for model, title, connections, floor, goal in (
            ("keras-mlp", "Keras, 2 hidden layers, V1, 1 row", 1, 20, 60),
            ("torch-mlp", "PyTorch, 2 hidden layers, V1, 1 row", 1, 4, 8),
            ("torch-mlp", "PyTorch, 2 hidden layers, V1, 1 row", 16, 5, 10),
            ("onnx-conv", "ONNX, 2 convolutions, V1, 1 image", 16, 4, 6),
        )
    ),
    BenchmarkCase(
        "distilbert-1",
        "DistilBERT's size, 1 short text, 1 connection",
        "throughput",
        "distilbert",
        (Bar(OURS, STOCK, 1.0, 1.1), Bar(OURS, MLFLOW_HERE)),
        connections=1,
        payload=payloads.v1_scored_table,
        payload_of={STOCK: payloads.v1_scored_texts, MLFLOW_HERE: payloads.invocations_scored_table},
    ),
    BenchmarkCase("xgb-v1-1", "XGBoost 200 trees, V1, 1 row", "throughput", "xgb", (Bar(OURS, STOCK, 16, 25),)),
    BenchmarkCase("lgb-v1-1", "LightGBM 200 trees, V1, 1 row", "throughput", "lgb", (Bar(OURS, STOCK, 28, 40),)),
    BenchmarkCase("cat-v1-1", "CatBoost 200 trees, V1, 1 row", "throughput", "cat", (Bar(OURS, STOCK, 10, 20),)),
    BenchmarkCase("lr-grpc-1", "LogisticRegression, gRPC, 1 row", "grpc", "lr", (Bar(OURS, STOCK, 4, 8),), quick=True),
    BenchmarkCase(
        "lr-v1-c1",
        "1 connection, LogisticRegression, V1, 1 row: p50",
        "latency",
        "lr",
        (Bar(OURS, ECHO, 2.5, 1.6), Bar(OURS, STOCK)),
        connections=1,
        quick=True,
    ),
    BenchmarkCase(
        "rf-v1-c64",
        "64 connections, RandomForest, 1 row: p99 / p50",
        "tail",
        "rf",
        (Bar(OURS, None, 3, 2), Bar(STOCK, None)),
        connections=64,
        quick=True,
    ),
    BenchmarkCase(
        "big-v2",
        "100,000 values in one V2 JSON request: p50",
        "big",
        "lr",
        (Bar(OURS, IN_PROCESS, 2, 1.3),),
        rows=10_000,
        connections=1,
        payload=payloads.v2,
        quick=True,
    ),
    BenchmarkCase(
        "start",
        "Start: process start → model ready",
        "start",
        "lr",
        (Bar(OURS, STOCK, 0.7, 0.4), Bar(OURS, MLFLOW, 0.4, 0.2)),
        quick=True,
    ),
    BenchmarkCase(
        "memory",
        "Memory, 1 worker, after 1,000 requests (PSS)",
        "memory",
        "lr",
        (Bar(OURS, STOCK, 1.0, 0.7),),
        quick=True,
    ),
    BenchmarkCase(
        "memory-workers",
        "Memory a further worker adds / 1 worker's PSS",
        "workers",
        "lr",
        (Bar(OURS, None, 0.35, 0.20),),
    ),
)
