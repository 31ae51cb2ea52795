"""What a Feast registry says of the features of a model, read once; lookups use it until it is read again.

Feast itself reads a registry again in the middle of whatever request comes after its cache has expired, and a remote
registry for every request. So lookups get a copy in memory that does neither.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from predictors.features.store import Catalogue, FeastError, FeastUnavailable, Feature

MAX_ASKED = 32
SERVABLE = frozenset({"STATE_UNSPECIFIED", "AVAILABLE_ONLINE"})


@dataclass(frozen=True)
class Definitions:
    catalogue: Catalogue
    registry: Any
    """Feast's, in memory."""
    proto: Any
    """What was read."""
    everything: Any
    """What Feast is asked for: a feature service, or references."""
    stored: Any
    """The same without what is computed on demand: that wants columns which a request need not have."""
    full_names: bool
    """Whether Feast is asked for full names."""
    columns: Mapping[str, str]
    """The column of Feast's answer by full feature name."""
    computed: frozenset[str]
    """The full names of what is computed on demand."""
    ages: Mapping[str, float]
    """The oldest that values may be, in seconds, by full name. Feast keeps to it in training, and not online."""
    references: Mapping[str, str]
    """By full name what is stored, if views go by their own names and keys: then only what is wanted is asked for."""
    asked: dict[tuple[str, ...], tuple[Catalogue, Any, bool]] = field(default_factory=dict)
    """By the names that are wanted. Callers choose, and Feast keeps what it resolves for each: so few are made."""

    def asked_for(self, names: Sequence[str]) -> tuple[Catalogue, Any, bool]:
        """What is asked for these, of which none is computed: keys, features, and whether by full names."""
        known = self.asked.get(tuple(names))
        if known is not None:
            return known
        if not self.references or len(self.asked) >= MAX_ASKED:
            return self.catalogue, self.stored, self.full_names
        wanted = [one for one in self.catalogue.features if one.full_name in names]
        keys = {key: self.catalogue.keys[key] for one in wanted for key in one.keys}
        made = Catalogue((), keys), [self.references[name] for name in names], True
        self.asked[tuple(names)] = made
        return made

    def lost_since(self, before: Definitions, needed: Collection[str]) -> list[str]:
        """What is needed and was there before, and is not any more, or is found by other keys or with more columns."""
        now = {one.full_name: one for one in self.catalogue.features}
        return [
            one.full_name
            for one in before.catalogue.features
            if one.full_name in needed and not stands_for(now.get(one.full_name), one)
        ]


def stands_for(now: Feature | None, before: Feature) -> bool:
    return (
        now is not None
        and (now.keys, now.type) == (before.keys, before.type)
        and {*now.computed_with} <= {*before.computed_with}
    )


def read(store: Any) -> Any:
    """The registry as it is now. Takes as long as the registry takes."""
    from feast.infra.registry.registry import Registry

    registry = store.registry
    if isinstance(registry, Registry):
        registry.refresh(store.project)
    return registry.proto()


def resolve(store: Any, proto: Any, service: str | None, references: Sequence[str]) -> Definitions:
    """Raises what Feast raises for what is not there, `FeastError` for what cannot be served."""
    registry = in_memory(store, proto)
    found = FeatureColumns(registry, store.project)
    if service is None:
        for reference in references:
            view, _, name = reference.partition(":")
            found.add(view.partition("@")[0], view, [name], None)
        everything: Any = list(references)
        stored: Any = [one for one in references if one.replace(":", "__", 1) not in found.computed]
        plain = not any("@" in one for one in references)
    else:
        everything = registry.get_feature_service(service, store.project, allow_cache=True)
        for projection in everything.feature_view_projections:
            found.add(projection.name, projection.name_to_use(), [one.name for one in projection.features], projection)
        stored = found.stored_part(everything) if found.computed else everything
        plain = not any(one.name_alias or one.join_key_map for one in everything.feature_view_projections)
    return found.definitions(proto, everything, stored, plain)


def in_memory(store: Any, proto: Any) -> Any:
    """Made as Feast's own `Registry.clone` makes one."""
    from feast.infra.registry.registry import Registry

    registry = Registry(store.project, None, None)
    content = proto.SerializeToString(deterministic=True)
    registry.cached_registry_proto = type(proto).FromString(content)  # others may change theirs
    registry.cached_registry_proto_created = time_of(content)
    registry.cached_registry_proto_ttl = timedelta(0)  # for ever
    for option in ("enable_online_versioning", "serve_features_while_materializing"):
        if hasattr(store.registry, option):
            setattr(registry, option, getattr(store.registry, option))
    return registry


def time_of(content: bytes) -> datetime:
    """Feast keeps in the process what it has resolved, all of it for the time of one registry, so that two models would
    take it from each other. Equal registries are of one time, and others of another."""
    return datetime.fromtimestamp(int.from_bytes(sha256(content).digest()[:6]) / 1e6, UTC)


class FeatureColumns:
    """Collects features and the columns by which they are looked up."""

    def __init__(self, registry: Any, project: str) -> None:
        self.registry = registry
        self.project = project
        self.entities = {one.name: one for one in registry.list_entities(project, allow_cache=True)}
        self.features: list[Feature] = []
        self.keys: dict[str, str] = {}
        self.request_columns: dict[str, str] = {}
        self.computed: set[str] = set()
        self.in_python: list[str] = []
        self.ages: dict[str, float] = {}

    def add(self, view_name: str, written: str, names: Sequence[str], projection: Any) -> None:
        view = self.registry.get_any_feature_view(view_name, self.project, allow_cache=True)
        self.check_state(view)
        on_demand = hasattr(view, "source_feature_view_projections") and not view.write_to_online_store
        keys = self.keys_of_sources(view) if on_demand else self.keys_of(view, projection or view.projection)
        types = {field.name: field.dtype.to_value_type().name for field in view.features}
        for name in names:
            if name not in types:
                raise FeastError(f"the feature view {view_name} has no feature {name!r}; it has {', '.join(types)}")
            feature = Feature(written, name, types[name], keys)
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
        while_filling = state == "MATERIALIZING" and getattr(self.registry, "serve_features_while_materializing", False)
        if state not in SERVABLE and not while_filling:
            raise FeastUnavailable("error", f"the feature view {view.name} cannot be served while it is {state}")

    def keys_of(self, view: Any, projection: Any) -> tuple[str, ...]:
        types = {column.name: column.dtype.to_value_type().name for column in view.entity_columns}
        keys = []
        for name in view.entities:
            entity = self.entities.get(name)
            if entity is None or name == "__dummy":  # of views that have no entity
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

    def stored_part(self, service: Any) -> Any:
        """Another service beside this one: Feast looks up by name what it is asked for."""
        part = copy(service)
        part.name = f"{service.name} without what is computed"
        views = {one.view for one in self.features if one.full_name not in self.computed}
        part.feature_view_projections = [one for one in service.feature_view_projections if one.name_to_use() in views]
        proto = part.to_proto()
        proto.spec.project = self.project
        self.registry.cached_registry_proto.feature_services.append(proto)
        return part

    def definitions(self, proto: Any, everything: Any, stored: Any, plain: bool) -> Definitions:
        """Asked for full names, Feast leaves out what on-demand views compute in its mode "python"."""
        if not self.features:
            raise FeastError("there are no features in what is to be looked up")
        short = [*(one.name for one in self.features), *self.keys, *self.request_columns]
        twice = sorted({name for name in short if short.count(name) > 1})
        if self.in_python and twice:
            raise FeastError(
                f'Feast does not give {self.in_python[0]}, which is computed in mode "python", beside several columns '
                f'named {", ".join(twice)}: give them different names, or compute it in mode "pandas"'
            )
        full_names = not self.in_python
        sent, computed = tuple(self.request_columns), self.computed
        features = (
            replace(one, computed_with=sent) if one.full_name in self.computed else one for one in self.features
        )
        stored_ones = [one for one in self.features if one.full_name not in computed]
        return Definitions(
            catalogue=Catalogue(tuple(features), self.keys, self.request_columns),
            registry=self.registry,
            proto=proto,
            everything=everything,
            stored=stored,
            full_names=full_names,
            columns={one.full_name: one.full_name if full_names else one.name for one in self.features},
            computed=frozenset(self.computed),
            ages=self.ages,
            references={one.full_name: f"{one.view}:{one.name}" for one in stored_ones} if plain else {},
        )
