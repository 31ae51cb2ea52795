"""The settings of the clean-up."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from predictors.cleanup.pods import EVERYWHERE, NAMESPACE
from predictors.settings.declare import SettingError, parser, read_values, setting
from predictors.settings.values import truth
from predictors.storage.cache import NAMESPACE_FILE
from predictors.telemetry.settings import refuse

PROG = "python -m predictors.cleanup"


def number(what: str) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1
        if not value >= 0:
            raise ValueError(f"expected a number of {what}, 0 or more, such as 7 or 0.5")
        return value

    return parse


def namespace(text: str) -> str:
    if text != EVERYWHERE and not NAMESPACE.fullmatch(text):
        raise ValueError(f"expected the name of a namespace, or {EVERYWHERE} for all of them")
    return text


@dataclass(frozen=True, slots=True)
class CleanupSettings:
    """What to clean, and how much to keep."""

    cache_path: str = setting(
        "/model-cache", "mount point of the cache's volume", env=("CACHE_PATH",), group="Cache",
        metavar="FOLDER",
    )  # fmt: skip
    namespace: str = setting(
        "", f"namespace of the pods that use the cache; '{EVERYWHERE}' for all namespaces", namespace,
        env=("NAMESPACE",), group="Cache", metavar="NAME", shown="that of the pod",
    )  # fmt: skip
    ttl_days: float = setting(
        7.0, "entries that no pod used for longer are removed; inf removes none", number("days"), env=("TTL_DAYS",),
        group="Limits", metavar="DAYS", shown="7",
    )  # fmt: skip
    max_size_gb: float = setting(
        0.0, "size in GB of 10^9 bytes above which the least recently used entries are removed; 0 for no limit",
        number("GB"), env=("MAX_SIZE_GB",), group="Limits", metavar="GB", shown="0",
    )  # fmt: skip
    min_age_minutes: float = setting(
        60.0, "entries used more recently are not removed for the size", number("minutes"), env=("MIN_AGE_MINUTES",),
        group="Limits", metavar="MINUTES", shown="60",
    )  # fmt: skip
    dry_run: bool = setting(
        False, "report what would be removed, and change nothing", truth, env=("DRY_RUN",), group="Report"
    )
    json: bool = setting(False, "report as one JSON object", truth, group="Report")

    @property
    def root(self) -> Path:
        return Path(self.cache_path)


def read_settings(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> CleanupSettings:
    """Flags override the environment, which overrides defaults; ends the process with 2 if one is invalid."""
    arguments = parser(PROG, "Removes entries of a model cache that no pod uses any more.", of=CleanupSettings)
    try:
        values = read_values(arguments, argv, environ, CleanupSettings)
        if not values.get("namespace"):
            values["namespace"] = own_namespace(environ)
        settings = CleanupSettings(**values)
        check(settings)
    except SettingError as error:
        refuse(error, PROG, argv, environ)
    return settings


def check(settings: CleanupSettings) -> None:
    if not settings.root.is_dir():
        raise SettingError(
            f"CACHE_PATH: there is no folder {settings.cache_path}: expected the mount point of the cache's volume"
        )
    if not settings.namespace:
        raise SettingError(
            "NAMESPACE: expected the namespace of the pods that use the cache; only in a pod it has a default"
        )


def own_namespace(environ: Mapping[str, str]) -> str:
    try:
        return environ.get("POD_NAMESPACE") or NAMESPACE_FILE.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
