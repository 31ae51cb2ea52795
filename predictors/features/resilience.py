"""Lookups with a time limit, retries and a circuit breaker."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

from predictors.features.breaker import Breaker, State
from predictors.features.store import Catalogue, FeastRefused, FeastUnavailable, FeatureStore, Fetched

log = logging.getLogger("predictors")
LARGE_LOOKUP_ROWS = 100
"""A larger lookup may time out although Feast works."""
BACKOFF = 0.02
"""Average seconds before the first retry, doubled each time."""


class ResilientStore:
    def __init__(
        self, store: FeatureStore, timeout: float, retries: int = 1, failures: int = 5, open_seconds: float = 5
    ) -> None:
        """`timeout` is in seconds, for a lookup with all its retries.

        A lookup that timed out is not retried: no time is left, and more load does not help a slow store. After
        `failures` in a row (0: never) lookups are refused for `open_seconds`; the timeout of a large lookup does not
        count as a failure.
        """
        self.store = store
        self.timeout = timeout
        self.retries = retries
        self.breaker = Breaker(failures, open_seconds)

    async def open(self) -> Catalogue:
        return await self.store.open()

    async def fetch(self, columns: Mapping[str, Sequence[Any]], names: Sequence[str]) -> Fetched:
        breaker = self.breaker
        if not breaker.allows():
            raise FeastUnavailable(
                "circuit_open", f"Feast has failed repeatedly; the next attempt is in {breaker.seconds_left:.1f} s"
            )
        try:
            fetched = await self.fetch_with_retries(columns, names)
        except FeastRefused:
            self.succeeded()
            raise
        except FeastUnavailable as error:
            rows = len(next(iter(columns.values()), ()))
            if error.reason == "timeout" and rows > LARGE_LOOKUP_ROWS:
                breaker.undecided()  # large requests of one caller must not block the others
            else:
                self.failed(error)
            raise
        except BaseException:  # cancelled
            breaker.undecided()
            raise
        self.succeeded()
        return fetched

    async def fetch_with_retries(self, columns: Mapping[str, Sequence[Any]], names: Sequence[str]) -> Fetched:
        deadline = time.monotonic() + self.timeout
        pause = BACKOFF
        retries = self.retries
        while True:
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    return await self.store.fetch(columns, names)
            except TimeoutError:
                raise FeastUnavailable("timeout", f"Feast did not answer within {self.timeout:g} s") from None
            except FeastUnavailable as error:
                pause *= random.uniform(1, 3)  # noqa: S311 not for secrets
                if isinstance(error, FeastRefused) or not retries or time.monotonic() + pause >= deadline:
                    raise
            retries -= 1
            await asyncio.sleep(pause)

    def succeeded(self) -> None:
        if self.breaker.state is not State.CLOSED:
            log.info("Feast answers again")
        self.breaker.succeeded()

    def failed(self, error: FeastUnavailable) -> None:
        before = self.breaker.state
        self.breaker.failed()
        if before is State.CLOSED and self.breaker.state is State.OPEN:
            log.warning(
                "no feature lookups for %g s after %d failures in a row: %s",
                self.breaker.open_seconds,
                self.breaker.consecutive,
                error,
            )

    async def close(self) -> None:
        await self.store.close()
