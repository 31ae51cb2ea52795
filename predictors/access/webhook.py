"""Deliveries of an MLflow registry webhook: only genuine ones, only fresh ones, and each only once."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from predictors.protocol import jsontext
from predictors.protocol.errors import Conflict, InvalidInput, NotFound, Unauthorized
from predictors.uris import ModelURI

SIGNATURE, DELIVERY, TIMESTAMP = "x-mlflow-signature", "x-mlflow-delivery-id", "x-mlflow-timestamp"
SECONDS = re.compile("[0-9]{1,20}")  # since 1970
MAX_AGE = 300  # seconds; as much for clocks that run ahead


class Webhook:
    def __init__(self, secret_file: str | None, seen: Path) -> None:
        self.secret_file = secret_file
        self.seen = seen
        """A folder that all workers share."""

    def event(self, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """The event of a delivery, once the delivery is known to come from the registry."""
        if self.secret_file is None:
            raise NotFound("no webhook is expected here; --webhook-secret-file turns them on")
        delivery, sent = headers.get(DELIVERY, ""), headers.get(TIMESTAMP, "")
        signature = headers.get(SIGNATURE, "")
        if not (delivery and SECONDS.fullmatch(sent) and signature):
            raise Unauthorized(f"expected the headers {SIGNATURE}, {DELIVERY} and {TIMESTAMP} of a signed delivery")
        if not hmac.compare_digest(self.signed(delivery, sent, body), signature.encode("latin-1", "replace")):
            raise Unauthorized("the signature does not fit the delivery")
        if abs(time.time() - int(sent)) > MAX_AGE:
            raise Unauthorized(f"the delivery is more than {MAX_AGE} s old, or a clock is wrong")
        self.mark(delivery)
        event = jsontext.parse_object(body)
        if not isinstance(event.get("data", {}), dict):
            raise InvalidInput("expected an object in 'data'")
        return event

    def signed(self, delivery: str, sent: str, body: bytes) -> bytes:
        secret = Path(self.secret_file or "").read_text().strip()  # each time: it may be rotated
        if not secret:  # anybody could sign with that
            raise Unauthorized("the file of the webhook's secret is empty")
        content = f"{delivery}.{sent}.".encode("latin-1") + body
        digest = hmac.new(secret.encode(), content, hashlib.sha256).digest()
        return b"v1," + base64.b64encode(digest)

    def mark(self, delivery: str) -> None:
        """Remembers a delivery for as long as it would be fresh."""
        self.seen.mkdir(exist_ok=True)
        for one in self.seen.iterdir():
            if time.time() - one.stat().st_mtime > 3 * MAX_AGE:
                one.unlink(missing_ok=True)
        try:
            (self.seen / hashlib.sha256(delivery.encode()).hexdigest()).touch(exist_ok=False)
        except FileExistsError:
            raise Conflict("this delivery has been here before") from None


def may_move(event: Mapping[str, Any], uri: str) -> bool:
    """Whether an event of the registry may move a model URI."""
    data, kind = event.get("data", {}), event.get("entity")
    model = ModelURI.parse(uri)
    if model.name is None or data.get("name") != model.name:
        return False
    if model.alias:
        return kind == "model_version_alias" and data.get("alias") == model.alias
    return kind in ("model_version", "model_version_tag")
