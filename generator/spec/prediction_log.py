"""Observation of predictions: the prediction log and drift."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from generator.spec.pods import SecretKey
from generator.spec.values import (
    Duration,
    Memory,
    NumberToo,
    Part,
    Subdomain,
    matching,
    quantity,
    seconds,
)
from monitoring.values import duration_text

MIN_WINDOW_ROWS = 30
"""A window slides in this many parts."""
MEMORY_FACTOR = 3
"""Size of a request in memory, relative to its size on the wire."""
Kind = Literal["stdout", "http", "folder", "store", "secret"]


def without_password(url: str) -> str:
    if urlsplit(url).password is not None:
        raise ValueError(
            "holds a password, which belongs into a Secret and not into a manifest: expected a URL without one"
        )
    return url


Target = Annotated[
    str,
    AfterValidator(without_password),
    matching(
        r"stdout|(/[^\s/:]+)+/?|https?://[^\s/:]+\S*|(?!https?:|file:|local:|memory:)[a-z][a-z0-9+.-]+://\S+",
        "a place for a log: expected stdout, a folder such as /logs, or a URL such as http://broker/events or "
        "s3://bucket/prefix",
    ),
]
Column = Annotated[str, matching(r"[^,]+", "a column: expected its name, without a comma in it")]


class PredictionLog(Part):
    """A log of requests and predictions, written in the background."""

    to: Target | SecretKey = Field(
        description="stdout (JSON lines), http://… (CloudEvents), a folder or a URL such as s3://bucket/prefix "
        "(Parquet files); a key of a Secret if the URL holds a password"
    )
    claim: Subdomain | None = Field(None, description="PersistentVolumeClaim mounted at the folder")
    sample: Annotated[float, Field(gt=0, le=1)] = 1.0
    """share of predictions that are logged"""
    exclude: list[Column] = []
    """columns that are not logged"""
    hash: list[Column] = Field([], description="columns that are logged as SHA-256 hashes only")
    hash_key: SecretKey | None = Field(None, description="key of the hashes, which makes them HMACs")
    max_age: Duration = Field("5m", description="age at which a Parquet file is closed")
    max_size: Memory = Field("64Mi", description="size in memory at which a Parquet file is closed")
    queue: Annotated[int, Field(ge=1)] = 10_000
    """maximum number of records waiting in each process; further ones are dropped"""
    queue_size: Memory = Field("64Mi", description="maximum size of the requests and responses waiting in each process")

    @property
    def kind(self) -> Kind:
        """The kind of target; a Secret's content is not known here."""
        if isinstance(self.to, SecretKey):
            return "secret"
        if self.to == "stdout":
            return "stdout"
        if self.to.startswith("/"):
            return "folder"
        return "http" if self.to.startswith(("http://", "https://")) else "store"

    @property
    def max_bytes(self) -> float:
        """Memory that a process may need: for the queue, and for two files that cannot be written yet."""
        files = 0 if self.kind in ("stdout", "http") else 2 * quantity(self.max_size)
        return MEMORY_FACTOR * quantity(self.queue_size) + files

    @property
    def folder(self) -> str | None:
        return self.to.rstrip("/") if isinstance(self.to, str) and self.kind == "folder" else None

    @model_validator(mode="after")
    def agrees(self) -> PredictionLog:
        if both := sorted({*self.exclude} & {*self.hash}):
            raise ValueError(f"exclude and hash both name {', '.join(both)}: expected one of them to")
        if self.hash_key and not self.hash:
            raise ValueError("hash_key is the key of hashes: expected hash with the columns of which they are")
        if self.claim and self.kind != "folder":
            raise ValueError("claim is mounted at a folder: expected one in 'to', such as /logs")
        if self.kind in ("stdout", "http"):
            for name in sorted({"max_age", "max_size"} & self.model_fields_set):
                raise ValueError(f"{name} is for Parquet files, which {self.to} does not get: leave it out")
        return self


def window(text: str) -> str:
    rows = re.fullmatch(r"(\d+)rows", text)
    if rows and int(rows[1]) < MIN_WINDOW_ROWS:
        raise ValueError(f"{text!r} is too few: expected at least {MIN_WINDOW_ROWS}rows")
    if not rows and seconds(text) < 1:
        raise ValueError(f"{text!r} is too short: expected at least 1s")
    return text


Window = Annotated[
    str,
    BeforeValidator(duration_text),
    matching(r"\d+rows|\d+(\.\d+)?(ms|s|m|h|d)", "a window: expected such as 15m, 1h or 10000rows"),
    AfterValidator(window),
    NumberToo,
]


class Drift(Part):
    """Drift of inputs and predictions from the model's drift profile."""

    mode: Literal["auto", "on", "off"] = Field(
        "auto",
        description="'auto' measures drift if the model has a profile; 'on' also measures it without one, against the "
        "first rows that are served",
    )
    window: Window = Field(
        "1h", description="window that is compared with the profile: a duration, or rows such as 10000rows"
    )
    interval: Duration = "1s"
    """time between two measurements"""
    min_rows: Annotated[int, Field(ge=1)] = 200
    """minimum rows in the window before drift is reported"""
    baseline_rows: Annotated[int, Field(ge=10)] = 2000
    """number of first rows that become the profile if the model has none"""

    @model_validator(mode="after")
    def agrees(self) -> Drift:
        fields_set = self.model_fields_set - {"mode"}
        if self.mode == "off" and fields_set:
            raise ValueError(f"mode: off measures nothing: leave out {', '.join(sorted(fields_set))}")
        if "baseline_rows" in fields_set and self.mode != "on":
            raise ValueError("baseline_rows is for models without a profile: expected mode: on with it")
        if seconds(self.interval) < 0.05:
            raise ValueError(f"interval {self.interval} is too short: expected 50ms or more")
        if self.window.endswith("rows") and int(self.window.removesuffix("rows")) < self.min_rows:
            raise ValueError(
                f"a window of {self.window} never holds the {self.min_rows} of min_rows, so nothing would be reported: "
                "expected more, or a smaller min_rows"
            )
        return self
