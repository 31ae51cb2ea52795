"""Feast behind its feature server: `POST /get-online-features` over connections that are kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import orjson

from predictors.features.failures import one_line, reason_of
from predictors.features.keys import blank, completed
from predictors.features.server_errors import NeedsColumns, error_of
from predictors.features.store import Catalogue, FeastError, FeastRefused, FeastUnavailable, Feature, Fetched
from predictors.features.values import NOT_FOUND, OUTSIDE_MAX_AGE, status_of

CONNECTIONS = 100
STATUSES = {"NOT_FOUND": NOT_FOUND, "OUTSIDE_MAX_AGE": OUTSIDE_MAX_AGE}
EPOCH = "1970-01-01T00:00:00Z"
TOKEN = re.compile(r"[!-~]+")
ANYBODY = "0"
"""An entity to try with: Feast takes it for a number and for text."""
KEY_TYPES: dict[type, str] = {int: "INT64", str: "STRING", bool: "BOOL", float: "DOUBLE"}


class Remote:
    def __init__(
        self,
        url: str,
        feature_service: str | None,
        features: Sequence[str] = (),
        keys: Sequence[str] = (),
        timeout: float = 10,
        token: Callable[[], str] | None = None,
    ) -> None:
        """`features` are references, such as "driver_stats:rating", where there is no service.

        A feature server does not tell the join keys, so they are given. `timeout` bounds one request; `token` is
        asked for each, since tokens are renewed.
        """
        self.url = url.rstrip("/") + "/get-online-features"
        self.where = f"Feast's feature server {shown(url)}"
        self.feature_service = feature_service
        self.references = features
        self.keys = keys
        self.timeout = timeout
        self.token = token
        self.session: Any = None
        self.catalogue = Catalogue(())
        self.computed: frozenset[str] = frozenset()
        """Asked for full names, Feast leaves out what on-demand views compute in its mode "python"."""

    async def open(self) -> Catalogue:
        import aiohttp

        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise FeastError(f"{shown(self.url)!r} is no address of a feature server, such as http://feast:6566")
        if not self.keys:
            raise FeastError("a feature server does not tell by which keys features are found: declare the entities")
        if self.session is None:
            self.session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS),
                timeout=aiohttp.ClientTimeout(total=self.timeout),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        try:
            await self.explore()
        except FeastRefused as error:
            raise FeastError(f"{error}; the keys that are declared: {', '.join(self.keys)}") from None
        return self.catalogue

    async def explore(self) -> None:
        """Tries what is to be looked up with an entity that need not exist: names and types show in the answer."""
        entities = {key: [ANYBODY] for key in self.keys}
        try:
            full = await self.ask(self.everything, entities, full_names=True)
            request_columns: Sequence[str] = ()
        except NeedsColumns as error:
            request_columns = error.columns
            entities.update((name, [ANYBODY]) for name in request_columns)
            full = await self.ask(self.everything, entities, full_names=True)
        try:
            short = await self.ask(self.everything, entities, full_names=False)
        except FeastRefused:  # two features have the same short name
            short = {}
        features = self.features_of([name for name in full if name not in entities], [*short])
        if unknown := [key for key in self.keys if key not in full]:
            raise FeastError(f"{self.where}: {', '.join(unknown)} is no join key")
        self.computed = frozenset(one.full_name for one in features if short and one.full_name not in full)
        types = {key: KEY_TYPES.get(type(full[key]["values"][0]), "") for key in self.keys}
        views = {view: await self.keys_of(view, features) for view in {one.view for one in features}}
        sent = {view: await self.columns_of(view, features, request_columns) for view in views}
        self.catalogue = Catalogue(
            tuple(Feature(one.view, one.name, keys=views[one.view], computed_with=sent[one.view]) for one in features),
            types,
            dict.fromkeys(request_columns, ""),
        )

    def features_of(self, full: Sequence[str], short: Sequence[str]) -> list[Feature]:
        if self.feature_service is None:
            return [Feature(view, name) for view, _, name in (one.partition(":") for one in self.references)]
        features = []
        for whole in full:
            name = max((one for one in short if whole.endswith(f"__{one}")), key=len, default="")
            name = name or whole.partition("__")[2]
            features.append(Feature(whole.removesuffix(f"__{name}"), name))
        named = {*self.keys, *(one.name for one in features)}
        return features + [Feature("", name) for name in short if name not in named]

    async def keys_of(self, view: str, features: Sequence[Feature]) -> tuple[str, ...]:
        """Which of several keys a view needs: without any of its own, Feast refuses."""
        if len(self.keys) == 1 or not view:
            return tuple(self.keys)
        reference = next(f"{view}:{one.name}" for one in features if one.view == view)
        needed = []
        for key in self.keys:
            try:
                await self.ask({"features": [reference]}, {key: [ANYBODY]}, full_names=True)
                needed.append(key)
            except FeastRefused:
                pass
        return tuple(needed or self.keys)

    async def columns_of(
        self, view: str, features: Sequence[Feature], request_columns: Sequence[str]
    ) -> tuple[str, ...]:
        """The columns of the request that a view computes with."""
        if not request_columns:
            return ()
        if not view:
            return tuple(request_columns)
        reference = next(f"{view}:{one.name}" for one in features if one.view == view)
        try:
            await self.ask({"features": [reference]}, {key: [ANYBODY] for key in self.keys}, full_names=True)
        except NeedsColumns as error:
            return error.columns
        return ()

    @property
    def everything(self) -> dict[str, Any]:
        if self.feature_service is not None:
            return {"feature_service": self.feature_service}
        return {"features": list(self.references)}

    async def fetch(self, columns: Mapping[str, Sequence[Any]], names: Sequence[str]) -> Fetched:
        entities, blanks = completed(self.catalogue, columns)
        features = [one for one in self.catalogue.features if one.full_name in names]
        wanted = self.everything
        if any(one not in columns for one in self.catalogue.request_columns):
            # They are for what is computed on demand; the rest can be had without.
            wanted = {"features": [f"{one.view}:{one.name}" for one in features]}
        full_names = not self.computed
        answer = await self.ask(wanted, entities, full_names)
        result = Fetched({}, {}, {})
        rows = len(next(iter(entities.values())))
        times = {EPOCH: 0.0}
        for feature in features:
            name = feature.full_name
            vector = answer.get(name if full_names else feature.name)
            if vector is None:
                raise FeastUnavailable("error", f"{self.where} has no {name} in its answer")
            try:
                values, statuses, written = vector["values"], vector["statuses"], vector["event_timestamps"]
                if len(values) != rows:
                    raise ValueError(f"{len(values)} values for {rows} rows")
                result.values[name] = values
                result.timestamps[name] = stamps = [
                    times[one] if one in times else times.setdefault(one, seconds(one)) for one in written
                ]
                result.statuses[name] = [
                    status_of(STATUSES.get(status, 0), value, stamp, name in self.computed)
                    for status, value, stamp in zip(statuses, values, stamps, strict=True)
                ]
            except (KeyError, TypeError, ValueError) as error:
                raise self.unlike_feast() from error
        if blanks:
            blank(result, self.catalogue, blanks)
        return result

    async def ask(self, wanted: Mapping[str, Any], entities: Mapping[str, Any], full_names: bool) -> dict[str, Any]:
        """The columns of the answer by name."""
        try:
            body = orjson.dumps(
                {**wanted, "entities": entities, "full_feature_names": full_names},
                option=orjson.OPT_SERIALIZE_NUMPY,
                default=list,
            )
        except TypeError as error:
            raise FeastRefused(f"{self.where} cannot be asked for these keys: {one_line(error)}") from None
        try:
            status, content = await self.post(body, self.headers())
        except FeastRefused:
            raise
        except Exception as error:
            raise FeastUnavailable(reason_of(error), f"{self.where}: {one_line(error)}") from error
        if status != 200:
            raise error_of(self.where, status, content)
        try:
            answer = orjson.loads(content)
            return dict(zip(answer["metadata"]["feature_names"], answer["results"], strict=True))
        except (ValueError, KeyError, TypeError) as error:
            raise self.unlike_feast() from error

    async def post(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Twice if need be: Feast ends a kept connection after an error without saying so, and whoever comes next sees
        it break."""
        from aiohttp import ClientConnectorError, ClientOSError, ServerDisconnectedError

        try:
            return await self.post_once(body, headers)
        except ClientConnectorError:
            raise
        except (ClientOSError, ServerDisconnectedError):
            return await self.post_once(body, headers)

    async def post_once(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        async with self.session.post(self.url, data=body, headers=headers, allow_redirects=False) as reply:
            return reply.status, await reply.read()

    def unlike_feast(self) -> FeastUnavailable:
        return FeastUnavailable("error", f"{self.where} gave an answer that is not that of a feature server")

    def headers(self) -> dict[str, str]:
        headers = {"content-type": "application/json"}
        if self.token is not None and (token := self.token().strip()):
            if not TOKEN.fullmatch(token):
                raise FeastRefused("the token for Feast's feature server has characters that no token has")
            headers["authorization"] = f"Bearer {token}"
        return headers

    async def close(self) -> None:
        if self.session is not None:
            await self.session.close()


def shown(url: str) -> str:
    """An address without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def seconds(written: Any) -> float:
    """Feast writes times as ISO 8601, other servers of its protocol also as numbers."""
    if isinstance(written, str):
        moment = datetime.fromisoformat(written)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return float(written)
