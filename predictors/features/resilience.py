"""A lookup gets a bounded time, another try where that may help, and none where nothing has answered for long."""

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
LARGE = 100
"""Rows of a lookup that may be late without Feast being in trouble."""
PAUSE = 0.02
"""Seconds before the second try, on average; the pause doubles with each."""


class Resilient:
    def __init__(
        self, store: FeatureStore, timeout: float, retries: int = 1, failures: int = 5, rest_seconds: float = 5
    ) -> None:
        """`timeout` is for a lookup with all its tries, in seconds.

        What took all the time is not tried again: there is none left, and a store that is late is not helped by more
        to do. After so many `failures` in a row (0 is never) lookups are refused for `rest_seconds`; that a large one
        was late is none.
        """
        self.store = store
        self.timeout = timeout
        self.retries = retries
        self.breaker = Breaker(failures, rest_seconds)

    async def open(self) -> Catalogue:
        return await self.store.open()

    async def fetch(self, columns: Mapping[str, Sequence[Any]], names: Sequence[str]) -> Fetched:
        breaker = self.breaker
        if not breaker.allows():
            raise FeastUnavailable(
                "circuit_open", f"Feast has not answered; it is asked again in {breaker.seconds_left:.1f} s"
            )
        try:
            fetched = await self.tries(columns, names)
        except FeastRefused:
            self.answered()
            raise
        except FeastUnavailable as error:
            rows = len(next(iter(columns.values()), ()))
            if error.reason == "timeout" and rows > LARGE:  # one caller's large requests are not to shut out the others
                breaker.undecided()
            else:
                self.failed(error)
            raise
        except BaseException:  # the caller left
            breaker.undecided()
            raise
        self.answered()
        return fetched

    async def tries(self, columns: Mapping[str, Sequence[Any]], names: Sequence[str]) -> Fetched:
        deadline = time.monotonic() + self.timeout
        pause = PAUSE
        left = self.retries
        while True:
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    return await self.store.fetch(columns, names)
            except TimeoutError:
                raise FeastUnavailable("timeout", f"Feast did not answer within {self.timeout:g} s") from None
            except FeastUnavailable as error:
                pause *= random.uniform(1, 3)  # noqa: S311 not for secrets
                if isinstance(error, FeastRefused) or not left or time.monotonic() + pause >= deadline:
                    raise
            left -= 1
            await asyncio.sleep(pause)

    def answered(self) -> None:
        if self.breaker.state is not State.CLOSED:
            log.info("Feast answers again")
        self.breaker.succeeded()

    def failed(self, error: FeastUnavailable) -> None:
        before = self.breaker.state
        self.breaker.failed()
        if before is State.CLOSED and self.breaker.state is State.OPEN:
            log.warning(
                "Feast is given a rest of %g s after %d failures in a row: %s",
                self.breaker.rest_seconds,
                self.breaker.in_a_row,
                error,
            )

    async def close(self) -> None:
        await self.store.close()
