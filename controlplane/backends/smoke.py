"""Asks a server one request of a plan."""

from __future__ import annotations

import http.client
import json

from controlplane.backends.backend import RequestUnanswered, SmokeAnswer
from controlplane.domain.rollouts import SmokeRequest

ANSWER_SECONDS = 10.0
MAX_ANSWER = 300  # bytes of it that are kept


def answered(host: str, port: int, request: SmokeRequest) -> SmokeAnswer:
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_SECONDS)
    body = None if request.body is None else json.dumps(request.body)
    try:
        headers = {} if body is None else {"content-type": "application/json"}
        connection.request("GET" if body is None else "POST", request.path, body, headers)
        response = connection.getresponse()
        text = response.read(MAX_ANSWER).decode(errors="replace")
        return SmokeAnswer(response.status, " ".join(text.split()))
    except (OSError, http.client.HTTPException) as error:
        raise RequestUnanswered(f"no answer: {error}") from None
    finally:
        connection.close()
