"""`?wait=SECONDS`: a reply that comes once a change has ended, so that nobody needs to poll."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Annotated

from fastapi import Query
from starlette.concurrency import run_in_threadpool

POLL_INTERVAL = 0.1
Wait = Annotated[float, Query(ge=0, le=600, description="seconds to wait for the end of the change under way")]


async def wait_while(under_way: Callable[[], bool], seconds: float) -> None:
    """Holds no thread meanwhile, and no transaction."""
    deadline = time.monotonic() + seconds
    while seconds and time.monotonic() < deadline and await run_in_threadpool(under_way):
        await asyncio.sleep(POLL_INTERVAL)
