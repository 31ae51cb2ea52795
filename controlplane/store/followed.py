"""Serves that are rolled out when their model URI moves, and what it named when it was asked last."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from controlplane.store import tables

T = tables.followed


@dataclass(frozen=True, slots=True)
class FollowedServe:
    serve: str
    env: str
    uri: str
    """The URI that moves, as the artifact has it."""
    tracking_uri: str
    named: str | None
    """What it named when the serve was last brought there, whatever came of it; None if it was never asked."""


def everything(tx: Connection) -> list[FollowedServe]:
    """The serves whose wanted revision says `follow: rollout`."""
    target, revision, artifact, environment = tables.target, tables.revision, tables.artifact, tables.environment
    wanted = (
        (revision.c.serve == target.c.serve)
        & (revision.c.env == target.c.env)
        & (revision.c.number == target.c.wanted)
        & (revision.c.content["deployment"]["follow"].as_string() == "rollout")
    )
    said = (artifact.c.serve == target.c.serve) & (
        artifact.c.version == revision.c.content["artifact_version"].as_string()
    )
    asked = (T.c.serve == target.c.serve) & (T.c.env == target.c.env) & (T.c.uri == artifact.c.model_uri)
    query = (
        select(target.c.serve, target.c.env, artifact.c.model_uri, environment.c.config, T.c.named)
        .join(revision, wanted)
        .join(artifact, said)
        .join(environment, environment.c.name == target.c.env)
        .outerjoin(T, asked)
        .order_by(target.c.env, target.c.serve)
    )
    return [
        FollowedServe(serve, env, uri, config.get("tracking_uri", ""), named)
        for serve, env, uri, config, named in tx.execute(query)
    ]


def note(tx: Connection, now: float, serve: str, env: str, uri: str, named: str) -> None:
    """What the URI names now."""
    values = {"uri": uri, "named": named, "since": now}
    if tx.execute(update(T).where(T.c.serve == serve, T.c.env == env).values(values)).rowcount == 0:
        tx.execute(insert(T).values(serve=serve, env=env, **values))
