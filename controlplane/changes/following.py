"""`follow: rollout`: a model URI has moved, and what it names becomes a revision."""

from __future__ import annotations

from controlplane.changes.context import ChangeContext
from controlplane.changes.deploy import Begun, begin
from controlplane.domain.artifacts import KnownModel
from controlplane.store import environments, followed, targets
from controlplane.store.followed import FollowedServe


def follow(context: ChangeContext, seen: FollowedServe, model: KnownModel) -> Begun | None:
    """Deploys what the URI names now, by the strategy of the serve; None if that is wanted already.

    It is noted in the same transaction, so that a version that fails is tried once: until the URI moves again.
    """
    target = targets.find(context.tx, seen.serve, seen.env)
    if target is None or target.wanted is None:
        return None
    content = targets.revision(context.tx, seen.serve, seen.env, target.wanted).content
    if content.deployment.follow != "rollout":
        return None
    followed.note(context.tx, context.now, seen.serve, seen.env, seen.uri, model.uri)
    if content.model_uri == model.uri:
        return None
    environment = environments.get(context.tx, seen.env)
    named = {"model_uri": model.uri, "flavor": model.flavor, "model_size": model.size}
    reason = f"{seen.uri} names {model.uri}"
    return begin(context, "deploy", seen.serve, environment, content.model_copy(update=named), reason)
