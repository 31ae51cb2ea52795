"""Lines that come too often."""

from __future__ import annotations

import pytest

from predictors.runtime.log_throttle import LogThrottle


def test_one_line_an_interval_says_how_often(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 5.0  # seconds after the machine has started
    monkeypatch.setattr("predictors.runtime.log_throttle.time.monotonic", lambda: now)
    throttle = LogThrottle(10)
    assert [throttle.due() for _ in range(3)] == [1, 0, 0]
    assert throttle.count == 2
    now += 9.9
    assert throttle.due() == 0
    now += 0.1
    assert [throttle.due(), throttle.due()] == [4, 0]
