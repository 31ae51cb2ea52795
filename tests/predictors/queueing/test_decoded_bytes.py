"""What large requests become when they are decoded is bounded: they wait for room, and one that is alone has any."""

from __future__ import annotations

import asyncio

import pytest

from predictors.queueing.decoded_bytes import EXPECTED, DecodedBytes


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Arrivals:
    """Requests that stay until they are ended, each of which turns out to take so much."""

    def __init__(self, limit: int) -> None:
        self.room = DecodedBytes(limit)
        self.begun: list[str] = []
        self.ends: dict[str, asyncio.Event] = {}

    def start(self, name: str, size: int, becomes: int | None = None) -> asyncio.Task[None]:
        self.ends[name] = asyncio.Event()

        async def run() -> None:
            async with self.room.place(size) as place:
                self.begun.append(name)
                if becomes is not None:
                    place.hold(becomes)
                await self.ends[name].wait()

        return asyncio.create_task(run())


@pytest.mark.parametrize("how", ["ends", "is cancelled"])
def test_a_request_waits_for_room(how: str) -> None:
    async def run() -> None:
        requests = Arrivals(limit=100)
        first, second = requests.start("first", 100 // EXPECTED), requests.start("second", 10)
        await settled()
        assert requests.begun == ["first"]
        if how == "ends":
            requests.ends["first"].set()
        else:
            first.cancel()
        await settled()
        assert requests.begun == ["first", "second"]
        second.cancel()
        await settled()
        assert requests.room.held == 0

    asyncio.run(run())


def test_a_request_that_takes_less_than_was_expected_makes_room() -> None:
    async def run() -> None:
        requests = Arrivals(limit=100)
        requests.start("first", 100 // EXPECTED, becomes=1)
        requests.start("second", 10)
        await settled()
        assert requests.begun == ["first", "second"]
        for end in requests.ends.values():
            end.set()
        await settled()
        assert requests.room.held == 0

    asyncio.run(run())


def test_a_request_that_is_alone_has_any_room() -> None:
    async def run() -> None:
        requests = Arrivals(limit=100)
        requests.start("large", 1000, becomes=12_000)
        small = requests.start("small", 1)
        await settled()
        assert requests.begun == ["large"]
        small.cancel()
        await settled()
        requests.ends["large"].set()
        await settled()
        assert requests.room.held == 0

    asyncio.run(run())
