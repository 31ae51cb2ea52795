"""The features that a model declares in its metadata, and the settings that override the declaration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from predictors.features.settings import POLICIES, STALE_POLICIES, is_reference
from predictors.features.store import FeastError

if TYPE_CHECKING:
    from predictors.features.settings import FeatureSettings

KEY = "feast"


@dataclass(frozen=True, slots=True)
class Declaration:
    """Names are Feast's; columns are those of requests and of the model's signature."""

    feature_service: str | None = None
    features: tuple[str, ...] = ()
    """References such as `view:feature`, instead of a feature service."""
    entities: Mapping[str, str] = field(default_factory=dict)
    """The column of a request by join key."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """The feature by column of the signature, if their names differ."""
    missing: str = "error"
    stale: str = "error"
    unavailable: str = "error"
    """The policies for values that Feast does not have, that are too old, and that cannot be looked up now."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """The default by column."""
    max_age: float | None = None
    """Seconds after which a value is stale; overrides the feature view's ttl."""

    @property
    def source(self) -> str:
        """The feature service or the number of features, for messages."""
        return f"feature service '{self.feature_service}'" if self.feature_service else f"{len(self.features)} features"


def declare(
    feature_service: Any = None,
    *,
    features: Sequence[str] = (),
    entities: Sequence[str] | Mapping[str, str] = (),
    columns: Mapping[str, str] | None = None,
    missing: str | None = None,
    stale: str | None = None,
    unavailable: str | None = None,
    defaults: Mapping[str, Any] | None = None,
    max_age: float | None = None,
) -> dict[str, Any]:
    """The `metadata` with which a model is logged, so that these features are looked up wherever it is served.

    `feature_service` is a name or a FeatureService; `features` are references such as `view:feature` instead.
    `entities` are the join keys: their names, or names and the columns of requests that hold them. `columns` are the
    columns of the signature whose features have other names. Raises ValueError for an invalid declaration.

        mlflow.sklearn.log_model(model, name="model", signature=signature,
                                 metadata=declare("driver_ranking", entities=["driver_id"]))
    """
    values = {
        "feature_service": getattr(feature_service, "name", feature_service),
        "features": as_plain(features),
        "entities": as_plain(entities),
        "columns": as_plain(columns or {}),
        "missing": missing,
        "stale": stale,
        "unavailable": unavailable,
        "defaults": as_plain(defaults or {}),
        "max_age": as_plain(max_age),
    }
    entry = {name: value for name, value in values.items() if value not in (None, [], {})}
    try:
        read_declaration(entry)
    except FeastError as error:
        raise ValueError(str(error)) from None
    return {KEY: entry}


def as_plain(value: Any) -> Any:
    """A value for YAML and JSON: defaults computed from a table are NumPy scalars or pandas timestamps."""
    if isinstance(value, Mapping):
        return {name: as_plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_plain(item) for item in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value.tolist() if hasattr(value, "tolist") else value


def read_declaration(entry: Any) -> Declaration:
    """Reads the entry in an MLmodel's metadata."""
    if not isinstance(entry, Mapping):
        raise FeastError(f"metadata.{KEY}: expected an object such as {{feature_service: NAME, entities: [KEY]}}")
    known = [field.name for field in fields(Declaration)]
    unknown = [str(name) for name in entry if name not in known]
    if unknown:
        raise FeastError(f"metadata.{KEY}: unknown key '{unknown[0]}'; expected {', '.join(known)}")
    declaration = Declaration(
        feature_service=text(entry, "feature_service"),
        features=tuple(references(entry.get("features") or (), f"metadata.{KEY}.features")),
        entities=names_of(entry.get("entities") or (), f"metadata.{KEY}.entities"),
        columns=names_of(entry.get("columns") or {}, f"metadata.{KEY}.columns"),
        missing=policy(entry, "missing", POLICIES),
        stale=policy(entry, "stale", STALE_POLICIES),
        unavailable=policy(entry, "unavailable", POLICIES),
        defaults=defaults_of(entry.get("defaults") or {}),
        max_age=age(entry.get("max_age")),
    )
    if not declaration.feature_service and not declaration.features:
        raise FeastError(f"metadata.{KEY}: expected feature_service, or features such as [view:feature]")
    if declaration.feature_service and declaration.features:
        raise FeastError(f"metadata.{KEY}: expected either feature_service or features, got both")
    return declaration


def text(entry: Mapping[str, Any], name: str) -> str | None:
    value = entry.get(name)
    if value is not None and (not isinstance(value, str) or not value):
        raise FeastError(f"metadata.{KEY}.{name}: expected a name")
    return value


def references(entry: Any, where: str) -> list[str]:
    if isinstance(entry, str) or not isinstance(entry, Sequence):
        raise FeastError(f"{where}: expected a list of references such as view:feature")
    for item in entry:
        if not is_reference(str(item)):
            raise FeastError(f"{where}: expected a reference such as view:feature, got '{item}'")
    return [str(item) for item in entry]


def names_of(entry: Any, where: str) -> dict[str, str]:
    """The column of each name: the name itself in a list, another one in an object."""
    if isinstance(entry, str) or not isinstance(entry, (Sequence, Mapping)):
        raise FeastError(f"{where}: expected a list of names, or an object of names and columns")
    pairs = entry.items() if isinstance(entry, Mapping) else ((name, name) for name in entry)
    columns = {}
    for name, column in pairs:
        if not isinstance(name, str) or not isinstance(column, str) or not name or not column:
            raise FeastError(f"{where}: expected names of columns, got {column!r} for {name!r}")
        columns[name] = column
    return columns


def defaults_of(entry: Any) -> dict[str, Any]:
    if not isinstance(entry, Mapping):
        raise FeastError(f"metadata.{KEY}.defaults: expected an object of columns and values")
    return {str(name): value for name, value in entry.items()}


def policy(entry: Mapping[str, Any], name: str, allowed: Sequence[str]) -> str:
    value = entry.get(name, "error")
    value = "null" if value is None else value  # YAML's own null
    if value not in allowed:
        raise FeastError(f"metadata.{KEY}.{name}: expected one of {', '.join(allowed)}")
    return str(value)


def age(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise FeastError(f"metadata.{KEY}.max_age: expected a number of seconds")
    return float(value)


def declaration_of(content: Mapping[str, Any], settings: FeatureSettings) -> Declaration | None:
    """The declaration of a model, overridden by settings; None if neither names features."""
    if not settings.feast:
        return None
    entry = (content.get("metadata") or {}).get(KEY)
    declared = None if entry is None else read_declaration(entry)
    if settings.feast_feature_service or settings.feast_features:
        declared = replace(
            declared or Declaration(),
            feature_service=settings.feast_feature_service,
            features=settings.feast_features,
        )
    if declared is None:
        return None
    if not settings.feast_repo_path and not settings.feast_server_url:
        raise FeastError(
            f"the model needs features from Feast ({declared.source}): expected FEAST_REPO_PATH or FEAST_SERVER_URL "
            "(--feast=false serves the model without Feast)"
        )
    overrides: dict[str, Any] = {
        "entities": settings.feast_entities,
        "missing": settings.feast_missing,
        "stale": settings.feast_stale,
        "unavailable": settings.feast_unavailable,
        "max_age": settings.feast_max_age,
    }
    declaration = replace(declared, **{name: value for name, value in overrides.items() if value})
    return replace(declaration, defaults={**declaration.defaults, **(settings.feast_defaults or {})})
