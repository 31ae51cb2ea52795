"""What is kept of predictions, and what is measured of them: the prediction log and drift."""

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

LEAST_ROWS = 30
"""Of a window: it slides in so many parts."""
IN_MEMORY = 3
"""Times the size that a request has on the wire."""
Kind = Literal["stdout", "http", "folder", "store", "secret"]


def without_password(where: str) -> str:
    if urlsplit(where).password is not None:
        raise ValueError(
            "holds a password, which belongs into a Secret and not into a manifest: expected a URL without one"
        )
    return where


Where = Annotated[
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
    """What the model was asked and what it answered, written down in the background."""

    to: Where | SecretKey = Field(
        description="stdout (JSON lines), http://… (CloudEvents), a folder or a URL such as s3://bucket/prefix "
        "(Parquet files); a key of a Secret where the URL holds a password"
    )
    claim: Subdomain | None = Field(None, description="PersistentVolumeClaim that is mounted at the folder")
    sample: Annotated[float, Field(gt=0, le=1)] = 1.0
    """share of the predictions that are written"""
    exclude: list[Column] = []
    """columns that are not written"""
    hash: list[Column] = Field([], description="columns of which only a SHA-256 hash is written")
    hash_key: SecretKey | None = Field(None, description="the key of these hashes, which are then HMACs")
    max_age: Duration = Field("5m", description="after which a Parquet file is finished")
    max_size: Memory = Field("64Mi", description="after which it is finished, in memory")
    queue: Annotated[int, Field(ge=1)] = 10_000
    """records that may wait in each process; more are dropped"""
    queue_size: Memory = Field("64Mi", description="what the requests and replies may have that wait so")

    @property
    def kind(self) -> Kind:
        """Of the place; what is in a Secret nobody knows."""
        if isinstance(self.to, SecretKey):
            return "secret"
        if self.to == "stdout":
            return "stdout"
        if self.to.startswith("/"):
            return "folder"
        return "http" if self.to.startswith(("http://", "https://")) else "store"

    @property
    def most_bytes(self) -> float:
        """What may wait in each process: in the queue, and in two files that cannot be written."""
        files = 0 if self.kind in ("stdout", "http") else 2 * quantity(self.max_size)
        return IN_MEMORY * quantity(self.queue_size) + files

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
    if rows and int(rows[1]) < LEAST_ROWS:
        raise ValueError(f"{text!r} is too few: expected at least {LEAST_ROWS}rows")
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
    """How far inputs and predictions move from the model's drift profile."""

    mode: Literal["auto", "on", "off"] = Field(
        "auto",
        description="'auto' measures where the model brings a profile along, 'on' also where it does not: against the "
        "first rows that it answers",
    )
    window: Window = Field("1h", description="what is compared with the profile: a time or rows, such as 10000rows")
    interval: Duration = "1s"
    """between two measurements"""
    min_rows: Annotated[int, Field(ge=1)] = 200
    """rows that the window must hold for drift to be reported"""
    baseline_rows: Annotated[int, Field(ge=10)] = 2000
    """first rows that stand for a profile where the model has none"""

    @model_validator(mode="after")
    def agrees(self) -> Drift:
        said = self.model_fields_set - {"mode"}
        if self.mode == "off" and said:
            raise ValueError(f"mode: off measures nothing: leave out {', '.join(sorted(said))}")
        if "baseline_rows" in said and self.mode != "on":
            raise ValueError("baseline_rows is for models without a profile: expected mode: on with it")
        if seconds(self.interval) < 0.05:
            raise ValueError(f"interval {self.interval} is too short: expected 50ms or more")
        if self.window.endswith("rows") and int(self.window.removesuffix("rows")) < self.min_rows:
            raise ValueError(
                f"a window of {self.window} never holds the {self.min_rows} of min_rows, so nothing would be reported: "
                "expected more, or a smaller min_rows"
            )
        return self
