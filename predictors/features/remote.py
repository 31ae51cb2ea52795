"""Feast behind its feature server: `POST /get-online-features` over persistent connections."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import orjson

from predictors.features.failures import one_line, reason_of
from predictors.features.keys import clear_missing, complete_keys
from predictors.features.server_errors import NeedsColumns, error_of
from predictors.features.store import Catalogue, FeastError, FeastRefused, FeastUnavailable, Feature, Fetched
from predictors.features.values import NOT_FOUND, OUTSIDE_MAX_AGE, status_of

MAX_CONNECTIONS = 100
STATUSES = {"NOT_FOUND": NOT_FOUND, "OUTSIDE_MAX_AGE": OUTSIDE_MAX_AGE}
EPOCH = "1970-01-01T00:00:00Z"
TOKEN = re.compile(r"[!-~]+")
PROBE_KEY = "0"
"""An entity for test requests: Feast accepts it as a number and as text."""
KEY_TYPES: dict[type, str] = {int: "INT64", str: "STRING", bool: "BOOL", float: "DOUBLE"}


class RemoteStore:
    def __init__(
        self,
        url: str,
        feature_service: str | None,
        features: Sequence[str] = (),
        keys: Sequence[str] = (),
        timeout: float = 10,
        token: Callable[[], str] | None = None,
    ) -> None:
        """`features` are references such as "driver_stats:rating", instead of a service.

        `keys` are the join keys, which a feature server does not report. `timeout` is for one request; `token` is
        called for each request, since tokens are renewed.
        """
        self.url = url.rstrip("/") + "/get-online-features"
        self.server = f"Feast's feature server {shown(url)}"
        self.feature_service = feature_service
        self.references = features
        self.keys = keys
        self.timeout = timeout
        self.token = token
        self.session: Any = None
        self.catalogue = Catalogue(())
        self.computed: frozenset[str] = frozenset()
        """Features of on-demand views in mode "python", which Feast omits if full names are requested."""

    async def open(self) -> Catalogue:
        import aiohttp

        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise FeastError(f"expected the URL of a feature server such as http://feast:6566, got {shown(self.url)!r}")
        if not self.keys:
            raise FeastError("a feature server does not report join keys: expected entities in the declaration")
        if self.session is None:
            self.session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS),
                timeout=aiohttp.ClientTimeout(total=self.timeout),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        try:
            await self.explore()
        except FeastRefused as error:
            raise FeastError(f"{error}; declared entities: {', '.join(self.keys)}") from None
        return self.catalogue

    async def explore(self) -> None:
        """Requests all features for an entity that need not exist: the response shows names and types."""
        entities = {key: [PROBE_KEY] for key in self.keys}
        try:
            full = await self.request(self.everything, entities, full_names=True)
            request_columns: Sequence[str] = ()
        except NeedsColumns as error:
            request_columns = error.columns
            entities.update((name, [PROBE_KEY]) for name in request_columns)
            full = await self.request(self.everything, entities, full_names=True)
        try:
            short = await self.request(self.everything, entities, full_names=False)
        except FeastRefused:  # two features have the same short name
            short = {}
        features = self.features_of([name for name in full if name not in entities], [*short])
        if unknown := [key for key in self.keys if key not in full]:
            raise FeastError(f"{self.server}: expected join keys as entities, got {', '.join(unknown)}")
        self.computed = frozenset(item.full_name for item in features if short and item.full_name not in full)
        types = {key: KEY_TYPES.get(type(full[key]["values"][0]), "") for key in self.keys}
        views = {view: await self.keys_of(view, features) for view in {item.view for item in features}}
        computed_with = {view: await self.columns_of(view, features, request_columns) for view in views}
        self.catalogue = Catalogue(
            tuple(
                Feature(item.view, item.name, keys=views[item.view], computed_with=computed_with[item.view])
                for item in features
            ),
            types,
            dict.fromkeys(request_columns, ""),
        )

    def features_of(self, full: Sequence[str], short: Sequence[str]) -> list[Feature]:
        if self.feature_service is None:
            return [
                Feature(view, name) for view, _, name in (reference.partition(":") for reference in self.references)
            ]
        features = []
        for full_name in full:
            name = max((name for name in short if full_name.endswith(f"__{name}")), key=len, default="")
            name = name or full_name.partition("__")[2]
            features.append(Feature(full_name.removesuffix(f"__{name}"), name))
        known = {*self.keys, *(feature.name for feature in features)}
        return features + [Feature("", name) for name in short if name not in known]

    async def keys_of(self, view: str, features: Sequence[Feature]) -> tuple[str, ...]:
        """The keys that a view needs: Feast refuses a request without any of them."""
        if len(self.keys) == 1 or not view:
            return tuple(self.keys)
        reference = next(f"{view}:{feature.name}" for feature in features if feature.view == view)
        needed = []
        for key in self.keys:
            try:
                await self.request({"features": [reference]}, {key: [PROBE_KEY]}, full_names=True)
                needed.append(key)
            except FeastRefused:
                pass
        return tuple(needed or self.keys)

    async def columns_of(
        self, view: str, features: Sequence[Feature], request_columns: Sequence[str]
    ) -> tuple[str, ...]:
        """The columns of the request that a view needs."""
        if not request_columns:
            return ()
        if not view:
            return tuple(request_columns)
        reference = next(f"{view}:{feature.name}" for feature in features if feature.view == view)
        try:
            await self.request({"features": [reference]}, {key: [PROBE_KEY] for key in self.keys}, full_names=True)
        except NeedsColumns as error:
            return error.columns
        return ()

    @property
    def everything(self) -> dict[str, Any]:
        if self.feature_service is not None:
            return {"feature_service": self.feature_service}
        return {"features": list(self.references)}

    async def fetch(self, columns: Mapping[str, Sequence[Any]], names: Sequence[str]) -> Fetched:
        entities, missing = complete_keys(self.catalogue, columns)
        features = [feature for feature in self.catalogue.features if feature.full_name in names]
        selection = self.everything
        if any(name not in columns for name in self.catalogue.request_columns):
            # Only features computed on demand need these columns.
            selection = {"features": [f"{feature.view}:{feature.name}" for feature in features]}
        full_names = not self.computed
        response = await self.request(selection, entities, full_names)
        result = Fetched({}, {}, {})
        rows = len(next(iter(entities.values())))
        times = {EPOCH: 0.0}
        for feature in features:
            name = feature.full_name
            vector = response.get(name if full_names else feature.name)
            if vector is None:
                raise FeastUnavailable("error", f"the response of {self.server} has no {name}")
            try:
                values, statuses, event_times = vector["values"], vector["statuses"], vector["event_timestamps"]
                if len(values) != rows:
                    raise ValueError(f"{len(values)} values for {rows} rows")
                result.values[name] = values
                result.timestamps[name] = stamps = [
                    times[event_time] if event_time in times else times.setdefault(event_time, seconds(event_time))
                    for event_time in event_times
                ]
                result.statuses[name] = [
                    status_of(STATUSES.get(status, 0), value, stamp, name in self.computed)
                    for status, value, stamp in zip(statuses, values, stamps, strict=True)
                ]
            except (KeyError, TypeError, ValueError) as error:
                raise self.unexpected_response() from error
        if missing:
            clear_missing(result, self.catalogue, missing)
        return result

    async def request(
        self, selection: Mapping[str, Any], entities: Mapping[str, Any], full_names: bool
    ) -> dict[str, Any]:
        """The columns of the response by name."""
        try:
            body = orjson.dumps(
                {**selection, "entities": entities, "full_feature_names": full_names},
                option=orjson.OPT_SERIALIZE_NUMPY,
                default=list,
            )
        except TypeError as error:
            raise FeastRefused(f"the keys cannot be sent to {self.server}: {one_line(error)}") from None
        try:
            status, content = await self.post(body, self.headers())
        except FeastRefused:
            raise
        except Exception as error:
            raise FeastUnavailable(reason_of(error), f"{self.server}: {one_line(error)}") from error
        if status != 200:
            raise error_of(self.server, status, content)
        try:
            response = orjson.loads(content)
            return dict(zip(response["metadata"]["feature_names"], response["results"], strict=True))
        except (ValueError, KeyError, TypeError) as error:
            raise self.unexpected_response() from error

    async def post(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Retries once if a connection breaks: Feast closes it without notice after an error."""
        from aiohttp import ClientConnectorError, ClientOSError, ServerDisconnectedError

        try:
            return await self.post_once(body, headers)
        except ClientConnectorError:
            raise
        except (ClientOSError, ServerDisconnectedError):
            return await self.post_once(body, headers)

    async def post_once(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        async with self.session.post(self.url, data=body, headers=headers, allow_redirects=False) as response:
            return response.status, await response.read()

    def unexpected_response(self) -> FeastUnavailable:
        return FeastUnavailable("error", f"the response of {self.server} is not that of a feature server")

    def headers(self) -> dict[str, str]:
        headers = {"content-type": "application/json"}
        if self.token is not None and (token := self.token().strip()):
            if not TOKEN.fullmatch(token):
                raise FeastRefused(
                    "the token for Feast's feature server has characters that are not allowed in a token"
                )
            headers["authorization"] = f"Bearer {token}"
        return headers

    async def close(self) -> None:
        if self.session is not None:
            await self.session.close()


def shown(url: str) -> str:
    """The URL without user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def seconds(event_time: Any) -> float:
    """Feast writes times as ISO 8601, other servers with its protocol also as numbers."""
    if isinstance(event_time, str):
        moment = datetime.fromisoformat(event_time)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return float(event_time)
