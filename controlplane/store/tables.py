"""The tables. The migrations make them; a test compares the two."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
NAME = String(63)
ID = String(32)
DIGEST = String(64)
ACTOR = String(190)
EVENT_ID = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows by INTEGER keys alone

environment = Table(
    "environment",
    metadata,
    Column("name", NAME, primary_key=True),
    Column("config", JSON, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
)

serve = Table(
    "serve",
    metadata,
    Column("name", NAME, primary_key=True),
    Column("type", String(16), nullable=False),
    Column("description", Text, nullable=False),
    Column("space", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
)

infra_config = Table(
    "infra_config",
    metadata,
    Column("serve", NAME, ForeignKey(serve.c.name), primary_key=True),
    Column("env", NAME, ForeignKey(environment.c.name), primary_key=True),
    Column("overlay", JSON, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("updated_at", Double, nullable=False),
)

artifact = Table(
    "artifact",
    metadata,
    Column("serve", NAME, ForeignKey(serve.c.name), primary_key=True),
    Column("version", NAME, primary_key=True),
    Column("model_uri", Text, nullable=False),
    Column("author", ACTOR, nullable=False),
    Column("created_at", Double, nullable=False),
)

artifact_job = Table(
    "artifact_job",
    metadata,
    Column("id", ID, primary_key=True),
    Column("serve", NAME, ForeignKey(serve.c.name), nullable=False),
    Column("version", NAME, nullable=False),
    Column("source", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("message", Text, nullable=False),
    Column("revision", DIGEST, nullable=False),
    Column("author", ACTOR, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Index("ix_artifact_job_state", "state"),
    Index("ix_artifact_job_serve_version", "serve", "version"),
)

target = Table(
    "target",
    metadata,
    Column("serve", NAME, ForeignKey(serve.c.name), primary_key=True),
    Column("env", NAME, ForeignKey(environment.c.name), primary_key=True),
    Column("wanted", Integer),
    Column("active", Integer),
    Column("last_revision", Integer, nullable=False),
    Column("operation", ID),
    Column("generation", Integer, nullable=False),
    Column("last_error", Text),
    Column("last_error_at", Double),
    Column("updated_at", Double, nullable=False),
)

revision = Table(
    "revision",
    metadata,
    Column("serve", NAME, primary_key=True),
    Column("env", NAME, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("content", JSON, nullable=False),
    Column("sha256", DIGEST, nullable=False),
    Column("restores", Integer),
    Column("author", ACTOR, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    ForeignKeyConstraint(["serve", "env"], [target.c.serve, target.c.env]),
)

deployment = Table(
    "deployment",
    metadata,
    Column("serve", NAME, primary_key=True),
    Column("env", NAME, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("artifact_version", NAME, nullable=False),
    Column("operation", ID, nullable=False),
    Column("status", String(16), nullable=False),
    Column("message", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    ForeignKeyConstraint(["serve", "env", "revision"], [revision.c.serve, revision.c.env, revision.c.number]),
    Index("ix_deployment_status", "status"),
)

operation = Table(
    "operation",
    metadata,
    Column("id", ID, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("serve", NAME, nullable=False),
    Column("env", NAME, nullable=False),
    Column("revision", Integer),
    Column("state", String(16), nullable=False),
    Column("message", Text, nullable=False),
    Column("author", ACTOR, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("deadline", Double, nullable=False),
    Index("ix_operation_serve_env", "serve", "env"),
)

rollout = Table(
    "rollout",
    metadata,
    Column("operation", ID, ForeignKey(operation.c.id), primary_key=True),
    Column("serve", NAME, nullable=False),
    Column("env", NAME, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("baseline", Integer, nullable=False),
    Column("plan", JSON, nullable=False),
    Column("step", Integer, nullable=False),
    Column("step_at", Double),
    Column("paused_at", Double),
    Column("paused_by", ACTOR, nullable=False),
    Column("pause_reason", Text, nullable=False),
    Column("looked_at", Double),
    Column("verdict", String(16), nullable=False),
    Column("verdict_reason", Text, nullable=False),
    Column("keep_until", Double),
    Column("generation", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    ForeignKeyConstraint(["serve", "env"], [target.c.serve, target.c.env]),
    Index("ix_rollout_serve_env", "serve", "env"),
)

rollout_step = Table(
    "rollout_step",
    metadata,
    Column("operation", ID, ForeignKey(rollout.c.operation), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("weight", Integer, nullable=False),
    Column("begun_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("outcome", String(16), nullable=False),
    Column("reason", Text, nullable=False),
)

rollout_look = Table(
    "rollout_look",
    metadata,
    Column("operation", ID, ForeignKey(rollout.c.operation), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("step", Integer, nullable=False),
    Column("at", Double, nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("look", JSON, nullable=False),
)

event = Table(
    "event",
    metadata,
    Column("id", EVENT_ID, primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False),
    Column("actor", ACTOR, nullable=False),
    Column("source", String(64), nullable=False),
    Column("action", String(32), nullable=False),
    Column("serve", NAME),
    Column("env", NAME),
    Column("operation", ID),
    Column("before", JSON(none_as_null=True)),
    Column("after", JSON(none_as_null=True)),
    Column("message", Text, nullable=False),
    Index("ix_event_serve_env", "serve", "env"),
)

lease = Table(
    "lease",
    metadata,
    Column("name", NAME, primary_key=True),
    Column("holder", ACTOR, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("expires_at", Double, nullable=False),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("actor", ACTOR, primary_key=True),
    Column("key", String(190), primary_key=True),
    Column("request_sha256", DIGEST, nullable=False),
    Column("status", Integer, nullable=False),
    Column("headers", JSON, nullable=False),
    Column("body", JSON(none_as_null=True)),
    Column("created_at", Double, nullable=False),
    Index("ix_idempotency_created_at", "created_at"),
)

token = Table(
    "token",
    metadata,
    Column("name", NAME, primary_key=True),
    Column("sha256", DIGEST, nullable=False, unique=True),
    Column("roles", JSON, nullable=False),
    Column("author", ACTOR, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
)

webhook = Table(
    "webhook",
    metadata,
    Column("name", NAME, primary_key=True),
    Column("config", JSON, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("author", ACTOR, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
)

delivery = Table(
    "delivery",
    metadata,
    Column("id", EVENT_ID, primary_key=True, autoincrement=True),
    Column("webhook", NAME, ForeignKey(webhook.c.name), nullable=False),
    Column("event", EVENT_ID, ForeignKey(event.c.id), nullable=False),
    Column("subject", String(128), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", Double, nullable=False),
    Column("message", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Index("ix_delivery_state_due_at", "state", "due_at"),
    Index("ix_delivery_webhook_state_subject", "webhook", "state", "subject"),
)

followed = Table(
    "followed",
    metadata,
    Column("serve", NAME, ForeignKey(serve.c.name), primary_key=True),
    Column("env", NAME, ForeignKey(environment.c.name), primary_key=True),
    Column("uri", Text, nullable=False),
    Column("named", Text, nullable=False),
    Column("since", Double, nullable=False),
)
