"""What is found of a model before its change begins: outside of any transaction, so that others need not wait."""

from __future__ import annotations

import threading

from controlplane.backends.registry import NotResolved, moves, pin
from controlplane.changes.deploy import deployment_before
from controlplane.domain.artifacts import KnownModel
from controlplane.domain.deployments import Follow
from controlplane.domain.environments import EnvironmentConfig
from controlplane.domain.problems import wrong_field
from controlplane.store import environments
from controlplane.store.database import Store
from generator import FlavorName, LookupFailed, ModelFacts, fetch_facts

FACTS_SECONDS = 15.0
READING = threading.Lock()
"""MLflow knows one tracking server at a time."""


def known_model(
    store: Store, serve: str, env: str, uri: str, follow: Follow | None, flavor: FlavorName | None
) -> KnownModel:
    """The version that a moving URI names unless the server follows it, and the flavor where a cluster needs it."""
    with store.reading() as tx:
        environment = environments.get(tx, env).config
        follow = follow or deployment_before(tx, serve, env).follow
    if moves(uri) and follow != "hot":
        uri = version_of(uri, environment)
    return model_of(uri, environment, flavor)


def model_of(uri: str, environment: EnvironmentConfig, flavor: FlavorName | None = None) -> KnownModel:
    """A model with what its environment needs to know of it. Raises ApiProblem (422)."""
    if environment.backend != "kserve":
        return KnownModel(uri)
    facts = ModelFacts(flavor) if flavor else facts_of(uri, environment)
    return KnownModel(uri, facts.flavor, facts.size)


def version_of(uri: str, environment: EnvironmentConfig) -> str:
    """What a moving URI names now. Raises ApiProblem (422)."""
    try:
        return pin(uri, environment.tracking_uri)
    except NotResolved as error:
        raise wrong_field("model_uri", f"cannot be resolved to a version: {error}") from None


def facts_of(uri: str, environment: EnvironmentConfig) -> ModelFacts:
    """Flavor and size, which decide image and memory of the pods."""
    with READING:
        try:
            return fetch_facts(uri, environment.tracking_uri or None, FACTS_SECONDS)
        except LookupFailed as error:
            reason = str(error).partition("; to go on without it")[0].removeprefix(f"{uri} ")
            raise wrong_field("model_uri", reason, "a model that the control plane can read, or its flavor") from None
