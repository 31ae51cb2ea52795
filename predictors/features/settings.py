"""The settings of feature lookups in Feast."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from predictors.settings.declare import SettingError, setting
from predictors.settings.values import between, choice, positive, seconds, truth

POLICIES = ("error", "null", "default")
STALE_POLICIES = (*POLICIES, "serve")


def split_list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def is_reference(text: str) -> bool:
    view, _, name = text.partition(":")
    return bool(view and name)


def references(text: str) -> tuple[str, ...]:
    listed = split_list(text)
    if not all(is_reference(part) for part in listed):
        raise ValueError("expected references such as view:feature, separated by commas")
    return tuple(listed)


def assignments(text: str) -> dict[str, str]:
    columns = {}
    for part in split_list(text):
        key, equals, column = part.partition("=")
        if not key or (equals and not column):
            raise ValueError("expected names such as driver_id or driver_id=driver, separated by commas")
        columns[key] = column or key
    return columns


def json_object(text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise ValueError('expected a JSON object such as {"conv_rate": 0.0}')
    return parsed


@dataclass(frozen=True)
class FeatureSettings:
    feast: bool = setting(True, "look up the features that the model declares", truth, group="Features")
    feast_feature_service: str | None = setting(
        None, "Feast feature service to look up", env=("FEAST_FEATURE_SERVICE",), group="Features", metavar="NAME",
        shown="what the model declares",
    )  # fmt: skip
    feast_features: tuple[str, ...] = setting(
        (), "features to look up instead of a feature service: view:feature, separated by commas", references,
        env=("FEAST_FEATURES",), group="Features", metavar="NAMES", shown="what the model declares",
    )  # fmt: skip
    feast_entities: dict[str, str] | None = setting(
        None, "join keys, separated by commas; key=column where a request has the key in a column of another name",
        assignments, env=("FEAST_ENTITIES",), group="Features", metavar="NAMES", shown="what the model declares",
    )  # fmt: skip
    feast_repo_path: str | None = setting(
        None, "folder with feature_store.yaml; the online store is read directly", env=("FEAST_REPO_PATH",),
        group="Features", metavar="FOLDER",
    )  # fmt: skip
    feast_server_url: str | None = setting(
        None, "URL of a Feast feature server, used instead of a repository folder", env=("FEAST_SERVER_URL",),
        group="Features", metavar="URL",
    )  # fmt: skip
    feast_token_file: str | None = setting(
        None, "file with the token for the Feast feature server", env=("FEAST_TOKEN_FILE",), group="Features",
        metavar="FILE",
    )  # fmt: skip
    feast_timeout: float = setting(0.5, "seconds for a lookup, retries included", positive, group="Features")
    feast_retries: int = setting(
        1, "number of times a failed lookup is retried within that time", between(0), group="Features"
    )
    feast_missing: str | None = setting(
        None, "features that Feast does not have: 'error' answers 424, 'null' passes null to the model, 'default' the "
        "default value", choice(*POLICIES), group="Features", shown="what the model declares, else error",
    )  # fmt: skip
    feast_stale: str | None = setting(
        None, "features that are too old: as for missing ones, and 'serve' uses them anyway",
        choice(*STALE_POLICIES), group="Features", shown="what the model declares, else error",
    )  # fmt: skip
    feast_unavailable: str | None = setting(
        None, "features while Feast does not respond: 'error' answers 503, 'null' passes null to the model, 'default' "
        "the default value", choice(*POLICIES), group="Features", shown="what the model declares, else error",
    )  # fmt: skip
    feast_defaults: dict[str, Any] | None = setting(
        None, "default values by column, as a JSON object", json_object, group="Features", metavar="JSON",
        shown="what the model declares",
    )  # fmt: skip
    feast_max_age: float | None = setting(
        None, "age in seconds beyond which a feature is too old", positive, group="Features", metavar="SECONDS",
        shown="what the model declares, else what its feature view allows",
    )  # fmt: skip
    feast_cache_ttl: float = setting(
        0.0, "seconds for which features are cached for later requests with the same entities; 0 disables the cache",
        seconds, group="Features",
    )  # fmt: skip
    feast_cache_rows: int = setting(10_000, "maximum number of cached entities", between(1), group="Features")
    feast_refresh: float = setting(
        60.0, "seconds between refreshes of Feast's registry, which run in the background", positive, group="Features",
        metavar="SECONDS",
    )  # fmt: skip


def check(settings: FeatureSettings) -> None:
    if settings.feast_repo_path and settings.feast_server_url:
        raise SettingError("FEAST_REPO_PATH and FEAST_SERVER_URL exclude each other: expected one of them")
    if settings.feast_feature_service and settings.feast_features:
        raise SettingError("FEAST_FEATURE_SERVICE and FEAST_FEATURES exclude each other: expected one of them")
    if settings.feast_server_url and not settings.feast_server_url.startswith(("http://", "https://")):
        raise SettingError("FEAST_SERVER_URL: expected a URL such as http://feast:6566")
