"""The demo model's server, which several files share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.serving import Running, in_thread


@pytest.fixture(scope="module")
def demo() -> Iterator[Running]:
    with in_thread(None) as server:
        yield server
