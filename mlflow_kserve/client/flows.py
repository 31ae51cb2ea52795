"""What takes several calls, as steps that yield a call and get its reply: both clients carry them out."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, TypeVar

from mlflow_kserve.client import calls
from mlflow_kserve.client.calls import ApiCall, Fields
from mlflow_kserve.client.errors import ApiConflict, ApiRefused
from mlflow_kserve.client.replies import BegunReply, InfraChangeReply, OperationReply, PageReply

T = TypeVar("T")
Steps = Generator[ApiCall[Any], Any, T]
"""Yields calls, is sent their replies, has their errors thrown into it, and returns a T."""
WAIT_SECONDS = 30.0
"""How long a single request may wait for the end of a change: less than proxies keep a silent connection."""
CONFLICT_TRIES = 3
UNDER_WAY = ("WAITING", "RUNNING")
"""States of an operation that has not ended; one that waits needs another person."""


def all_pages(call: ApiCall[PageReply[T]]) -> Steps[list[T]]:
    items: list[T] = []
    number = 1
    while True:
        page: PageReply[T] = yield call.of_page(number) if number > 1 else call
        items += page["items"]
        if len(items) >= page["total"] or not page["items"]:
            return items
        number += 1


def wait_for(operation: OperationReply, seconds: float) -> Steps[OperationReply]:
    """The operation once it has ended, or as it is when the time is over."""
    deadline = time.monotonic() + seconds
    while operation["state"] in UNDER_WAY and (left := deadline - time.monotonic()) > 0:
        operation = yield calls.get_operation(operation["id"], wait=min(left, WAIT_SECONDS))
    return operation


def set_infra(serve: str, env: str, fields: Fields, *, dry_run: bool = False) -> Steps[InfraChangeReply]:
    """Changes the infrastructure, or says it for the first time."""
    for _ in range(CONFLICT_TRIES):
        for change in (calls.change_infra, calls.create_infra):
            call: ApiCall[Any] = change(serve, env, fields)
            try:
                reply: InfraChangeReply = yield call.dry() if dry_run else call
                return reply
            except ApiRefused as error:
                if not is_missing_infra(error) and not is_there_already(error):
                    raise
    raise AssertionError("an infra-config is there, or it is not")


def is_missing_infra(error: ApiRefused) -> bool:
    return error.status == 404 and "infra-config" in str(error)


def is_there_already(error: ApiRefused) -> bool:
    return isinstance(error, ApiConflict) and "already" in str(error)


def ensure_serve(fields: Fields) -> Steps[None]:
    """Makes the serve unless it is there."""
    try:
        yield calls.create_serve(fields)
    except ApiConflict as error:
        if not is_there_already(error):
            raise


def deploy_with(serve: Fields, infra: Fields, model: Fields, seconds: float) -> Steps[BegunReply]:
    """Deploys a model with all that is said of it; what is deployed is first given the infrastructure."""
    yield from ensure_serve(serve)
    changed = yield from set_infra(model["serve_name"], model["env"], infra)
    if changed["deployment"] is not None:
        yield from wait_for(changed["deployment"]["operation"], seconds)
    begun: BegunReply = yield calls.deploy_model(model)
    return begun
