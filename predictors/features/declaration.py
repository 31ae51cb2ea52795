"""What a model says of the features that it looks up, and what settings say instead."""

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
    """Names are those of Feast; columns are those of requests and of the model's signature."""

    feature_service: str | None = None
    features: tuple[str, ...] = ()
    """References such as `view:feature`, where no feature service names them."""
    entities: Mapping[str, str] = field(default_factory=dict)
    """Join keys, and the columns of a request that hold them."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Columns of the signature, and the features that they are, where they have another name."""
    missing: str = "error"
    stale: str = "error"
    unavailable: str = "error"
    """What becomes of features that Feast does not have, that are too old, and that it cannot tell now."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """By column."""
    max_age: float | None = None
    """Seconds after which a value is stale, whatever its feature view allows."""

    @property
    def source(self) -> str:
        """What is looked up, in words."""
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
    """The `metadata` with which a model is logged, so that it gets these features wherever it is served.

    `feature_service` is a name or a FeatureService; `features` are references such as `view:feature` instead.
    `entities` are the join keys: their names, or names and the columns of requests that hold them. `columns` are the
    columns of the signature whose features have other names. Raises ValueError for what could not be served.

        mlflow.sklearn.log_model(model, name="model", signature=signature,
                                 metadata=declare("driver_ranking", entities=["driver_id"]))
    """
    given = {
        "feature_service": getattr(feature_service, "name", feature_service),
        "features": written(features),
        "entities": written(entities),
        "columns": written(columns or {}),
        "missing": missing,
        "stale": stale,
        "unavailable": unavailable,
        "defaults": written(defaults or {}),
        "max_age": written(max_age),
    }
    entry = {name: value for name, value in given.items() if value not in (None, [], {})}
    try:
        read_declaration(entry)
    except FeastError as error:
        raise ValueError(str(error)) from None
    return {KEY: entry}


def written(value: Any) -> Any:
    """As YAML and JSON can hold it: means and medians of a table are values of NumPy's and times of pandas'."""
    if isinstance(value, Mapping):
        return {name: written(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [written(one) for one in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value.tolist() if hasattr(value, "tolist") else value


def read_declaration(entry: Any) -> Declaration:
    """An entry of an MLmodel's metadata."""
    if not isinstance(entry, Mapping):
        raise FeastError(f"metadata.{KEY}: expected an object such as {{feature_service: NAME, entities: [KEY]}}")
    known = [one.name for one in fields(Declaration)]
    unknown = [str(name) for name in entry if name not in known]
    if unknown:
        raise FeastError(f"metadata.{KEY}: unknown key '{unknown[0]}'; expected {', '.join(known)}")
    found = Declaration(
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
    if not found.feature_service and not found.features:
        raise FeastError(f"metadata.{KEY}: expected feature_service, or features such as [view:feature]")
    if found.feature_service and found.features:
        raise FeastError(f"metadata.{KEY}: feature_service and features both say what to look up: expected one of them")
    return found


def text(entry: Mapping[str, Any], name: str) -> str | None:
    value = entry.get(name)
    if value is not None and (not isinstance(value, str) or not value):
        raise FeastError(f"metadata.{KEY}.{name}: expected a name")
    return value


def references(entry: Any, where: str) -> list[str]:
    if isinstance(entry, str) or not isinstance(entry, Sequence):
        raise FeastError(f"{where}: expected a list of references such as view:feature")
    for one in entry:
        if not is_reference(str(one)):
            raise FeastError(f"{where}: '{one}' is no reference such as view:feature")
    return [str(one) for one in entry]


def names_of(entry: Any, where: str) -> dict[str, str]:
    """Names, each with its own column or with another."""
    if isinstance(entry, str) or not isinstance(entry, (Sequence, Mapping)):
        raise FeastError(f"{where}: expected a list of names, or an object of names and columns")
    pairs = entry.items() if isinstance(entry, Mapping) else ((one, one) for one in entry)
    found = {}
    for name, column in pairs:
        if not isinstance(name, str) or not isinstance(column, str) or not name or not column:
            raise FeastError(f"{where}: '{name}' has no name for a column")
        found[name] = column
    return found


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
    """What is looked up for a model; None for one that brings nothing of the kind. Settings win."""
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
            f"the model gets features from Feast ({declared.source}): FEAST_REPO_PATH or FEAST_SERVER_URL says where "
            "that is (--feast=false serves it without)"
        )
    changed: dict[str, Any] = {
        "entities": settings.feast_entities,
        "missing": settings.feast_missing,
        "stale": settings.feast_stale,
        "unavailable": settings.feast_unavailable,
        "max_age": settings.feast_max_age,
    }
    made = replace(declared, **{name: value for name, value in changed.items() if value})
    return replace(made, defaults={**made.defaults, **(settings.feast_defaults or {})})
