"""How much work a process accepts, and how long it waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from predictors.settings.declare import SettingError, setting
from predictors.settings.values import between, seconds, size


@dataclass(frozen=True)
class OverloadSettings:
    max_in_flight: int = setting(
        1000, "maximum number of prediction requests, waiting or running, in each process", between(1), group="Overload"
    )
    max_in_flight_bytes: int = setting(
        0,
        "maximum bytes of prediction requests that each process holds at a time",
        size,
        group="Overload",
        shown="four times --max-body",
    )
    max_inflation: int = setting(
        100,
        "how many times larger than it was sent a compressed request may become, beyond 1 MiB; 0 for no limit",
        between(0),
        group="Overload",
    )
    max_wait: float = setting(
        1.0,
        "seconds of expected waiting beyond which a request is refused; 0 for no limit",
        seconds,
        group="Overload",
    )
    request_timeout: float = setting(
        60.0, "seconds after which a prediction is abandoned with status 504; 0 for no limit", seconds, group="Overload"
    )
    read_timeout: float = setting(
        30.0,
        "seconds for a request to arrive, plus one second for each 8 KiB of its body; also the limit for a client that "
        "reads nothing of its response; 0 for no limit",
        seconds,
        group="Overload",
    )


class AdmissionSettings(Protocol):
    """The settings that admission depends on, those of other rooms included."""

    @property
    def model_name(self) -> str: ...
    @property
    def max_body(self) -> int: ...
    @property
    def max_in_flight(self) -> int: ...
    @property
    def max_in_flight_bytes(self) -> int: ...
    @property
    def max_wait(self) -> float: ...
    @property
    def request_timeout(self) -> float: ...


def check(settings: AdmissionSettings) -> None:
    if 0 < settings.max_in_flight_bytes < settings.max_body:
        raise SettingError(f"--max-in-flight-bytes: expected at least --max-body, which is {settings.max_body}")
