"""The definitions of a model's features, read from a Feast registry and used by lookups until the next read.

Feast itself rereads a registry during the first request after its cache has expired, and a remote registry for every
request. Lookups therefore get a copy in memory, which does neither.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from predictors.features.store import Catalogue, FeastError, FeastUnavailable, Feature

MAX_REQUESTS = 32
SERVABLE = frozenset({"STATE_UNSPECIFIED", "AVAILABLE_ONLINE"})


@dataclass(frozen=True)
class Definitions:
    catalogue: Catalogue
    registry: Any
    """Feast's registry object, in memory."""
    proto: Any
    """The registry as it was read."""
    everything: Any
    """The features to request: a feature service, or references."""
    stored: Any
    """The same without features computed on demand: these need columns that a request may not have."""
    full_names: bool
    """Whether full names are requested."""
    columns: Mapping[str, str]
    """The column of Feast's response by full feature name."""
    computed: frozenset[str]
    """The full names of features computed on demand."""
    ages: Mapping[str, float]
    """The views' ttl in seconds, by full name. Feast respects it in training, but not online."""
    references: Mapping[str, str]
    """References of stored features by full name, unless views are renamed: with them a subset can be requested."""
    requests: dict[tuple[str, ...], tuple[Catalogue, Any, bool]] = field(default_factory=dict)
    """Requests by names. Callers choose the names, and Feast caches each request: hence the limit."""

    def request_for(self, names: Sequence[str]) -> tuple[Catalogue, Any, bool]:
        """The request for stored features: keys, features, and whether full names are requested."""
        request = self.requests.get(tuple(names))
        if request is not None:
            return request
        if not self.references or len(self.requests) >= MAX_REQUESTS:
            return self.catalogue, self.stored, self.full_names
        features = [feature for feature in self.catalogue.features if feature.full_name in names]
        keys = {key: self.catalogue.keys[key] for feature in features for key in feature.keys}
        request = Catalogue((), keys), [self.references[name] for name in names], True
        self.requests[tuple(names)] = request
        return request

    def incompatible_with(self, previous: Definitions, needed: Collection[str]) -> list[str]:
        """Needed features that are missing, or that have other keys, another type or more request columns."""
        current = {feature.full_name: feature for feature in self.catalogue.features}
        return [
            feature.full_name
            for feature in previous.catalogue.features
            if feature.full_name in needed and not can_replace(current.get(feature.full_name), feature)
        ]


def can_replace(current: Feature | None, previous: Feature) -> bool:
    return (
        current is not None
        and (current.keys, current.type) == (previous.keys, previous.type)
        and {*current.computed_with} <= {*previous.computed_with}
    )


def read_registry(store: Any) -> Any:
    """The current registry as a proto. This blocks until the registry answers."""
    from feast.infra.registry.registry import Registry

    registry = store.registry
    if isinstance(registry, Registry):
        registry.refresh(store.project)
    return registry.proto()


def resolve(store: Any, proto: Any, service: str | None, references: Sequence[str]) -> Definitions:
    """Raises Feast's own errors for unknown names, and `FeastError` for features that cannot be served."""
    registry = in_memory_registry(store, proto)
    columns = FeatureColumns(registry, store.project)
    if service is None:
        for reference in references:
            view, _, name = reference.partition(":")
            columns.add(view.partition("@")[0], view, [name], None)
        everything: Any = list(references)
        stored: Any = [reference for reference in references if reference.replace(":", "__", 1) not in columns.computed]
        plain = not any("@" in reference for reference in references)
    else:
        everything = registry.get_feature_service(service, store.project, allow_cache=True)
        for projection in everything.feature_view_projections:
            columns.add(
                projection.name, projection.name_to_use(), [field.name for field in projection.features], projection
            )
        stored = columns.stored_service(everything) if columns.computed else everything
        plain = not any(view.name_alias or view.join_key_map for view in everything.feature_view_projections)
    return columns.definitions(proto, everything, stored, plain)


def in_memory_registry(store: Any, proto: Any) -> Any:
    """Built in the same way as Feast's `Registry.clone`."""
    from feast.infra.registry.registry import Registry

    registry = Registry(store.project, None, None)
    content = proto.SerializeToString(deterministic=True)
    registry.cached_registry_proto = type(proto).FromString(content)  # a copy, since others may change theirs
    registry.cached_registry_proto_created = version_time(content)
    registry.cached_registry_proto_ttl = timedelta(0)  # never expires
    for option in ("enable_online_versioning", "serve_features_while_materializing"):
        if hasattr(store.registry, option):
            setattr(registry, option, getattr(store.registry, option))
    return registry


def version_time(content: bytes) -> datetime:
    """A timestamp derived from the registry's content. Feast caches resolved features per process, and drops them all
    when it sees another timestamp: with this one, models with equal registries share the cache."""
    return datetime.fromtimestamp(int.from_bytes(sha256(content).digest()[:6]) / 1e6, UTC)


class FeatureColumns:
    """Collects features and the columns that are needed to look them up."""

    def __init__(self, registry: Any, project: str) -> None:
        self.registry = registry
        self.project = project
        self.entities = {entity.name: entity for entity in registry.list_entities(project, allow_cache=True)}
        self.features: list[Feature] = []
        self.keys: dict[str, str] = {}
        self.request_columns: dict[str, str] = {}
        self.computed: set[str] = set()
        self.in_python: list[str] = []
        self.ages: dict[str, float] = {}

    def add(self, view_name: str, shown_name: str, names: Sequence[str], projection: Any) -> None:
        view = self.registry.get_any_feature_view(view_name, self.project, allow_cache=True)
        self.check_state(view)
        on_demand = hasattr(view, "source_feature_view_projections") and not view.write_to_online_store
        keys = self.keys_of_sources(view) if on_demand else self.keys_of(view, projection or view.projection)
        types = {field.name: field.dtype.to_value_type().name for field in view.features}
        for name in names:
            if name not in types:
                raise FeastError(f"the feature view {view_name} has no feature {name!r}; it has {', '.join(types)}")
            feature = Feature(shown_name, name, types[name], keys)
            self.features.append(feature)
            if ttl := getattr(view, "ttl", None):
                self.ages[feature.full_name] = ttl.total_seconds()
            if on_demand:
                self.computed.add(feature.full_name)
                if view.mode == "python":
                    self.in_python.append(feature.full_name)

    def check_state(self, view: Any) -> None:
        if not getattr(view, "enabled", True):
            raise FeastError(f"the feature view {view.name} is disabled")
        state = getattr(getattr(view, "state", None), "name", "STATE_UNSPECIFIED")
        is_filling = state == "MATERIALIZING" and getattr(self.registry, "serve_features_while_materializing", False)
        if state not in SERVABLE and not is_filling:
            raise FeastUnavailable("error", f"the feature view {view.name} cannot be served while it is {state}")

    def keys_of(self, view: Any, projection: Any) -> tuple[str, ...]:
        types = {column.name: column.dtype.to_value_type().name for column in view.entity_columns}
        keys = []
        for name in view.entities:
            entity = self.entities.get(name)
            if entity is None or name == "__dummy":  # Feast's own, for views without entities
                continue
            key = projection.join_key_map.get(entity.join_key, entity.join_key)
            self.keys[key] = types.get(entity.join_key, entity.value_type.name)
            keys.append(key)
        return tuple(keys)

    def keys_of_sources(self, view: Any) -> tuple[str, ...]:
        self.request_columns.update({name: kind.name for name, kind in view.get_request_data_schema().items()})
        keys: dict[str, None] = {}
        for projection in view.source_feature_view_projections.values():
            source = self.registry.get_any_feature_view(projection.name, self.project, allow_cache=True)
            self.check_state(source)
            keys.update(dict.fromkeys(self.keys_of(source, projection)))
        return tuple(keys)

    def stored_service(self, service: Any) -> Any:
        """A second service without computed features, added to the registry because Feast finds services by name."""
        part = copy(service)
        part.name = f"{service.name} without computed features"
        views = {feature.view for feature in self.features if feature.full_name not in self.computed}
        part.feature_view_projections = [
            projection for projection in service.feature_view_projections if projection.name_to_use() in views
        ]
        proto = part.to_proto()
        proto.spec.project = self.project
        self.registry.cached_registry_proto.feature_services.append(proto)
        return part

    def definitions(self, proto: Any, everything: Any, stored: Any, plain: bool) -> Definitions:
        """With full names, Feast omits features that on-demand views compute in mode "python"."""
        if not self.features:
            raise FeastError("there are no features to look up")
        short = [*(feature.name for feature in self.features), *self.keys, *self.request_columns]
        duplicates = sorted({name for name in short if short.count(name) > 1})
        if self.in_python and duplicates:
            raise FeastError(
                f'Feast cannot return {self.in_python[0]}, which is computed in mode "python", together with several '
                f'columns named {", ".join(duplicates)}: give them different names, or compute it in mode "pandas"'
            )
        full_names = not self.in_python
        request_columns = tuple(self.request_columns)
        features = (
            replace(feature, computed_with=request_columns) if feature.full_name in self.computed else feature
            for feature in self.features
        )
        stored_features = [feature for feature in self.features if feature.full_name not in self.computed]
        return Definitions(
            catalogue=Catalogue(tuple(features), self.keys, self.request_columns),
            registry=self.registry,
            proto=proto,
            everything=everything,
            stored=stored,
            full_names=full_names,
            columns={feature.full_name: feature.full_name if full_names else feature.name for feature in self.features},
            computed=frozenset(self.computed),
            ages=self.ages,
            references={feature.full_name: f"{feature.view}:{feature.name}" for feature in stored_features}
            if plain
            else {},
        )
