"""Changes of serves and artifacts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from controlplane.backends.backend import Key
from controlplane.changes.context import ChangeContext
from controlplane.domain.artifacts import NewArtifact
from controlplane.domain.bodies import read
from controlplane.domain.problems import conflict
from controlplane.domain.serves import NewServe, ServeChange
from controlplane.store import artifact_jobs, artifacts, serves, targets
from controlplane.store.artifact_jobs import ArtifactJob
from controlplane.store.artifacts import Artifact
from controlplane.store.serves import Serve


def create(context: ChangeContext, body: Any) -> Serve:
    said = read(body, NewServe)
    if serves.find(context.tx, said.name) is not None:
        raise conflict(f"there is a serve '{said.name}' already", "PATCH changes it; choose another name")
    serve = serves.add(context.tx, context.now, said)
    context.note("serve.create", serve=said.name, after=said.model_dump())
    return serve


def patch(context: ChangeContext, old: Serve, body: Any) -> Serve:
    said = read(body, ServeChange).model_dump(exclude_unset=True, exclude_none=True)
    serve = serves.change(context.tx, context.now, old, said)
    before = {name: getattr(old, name) for name in said}
    context.note("serve.change", serve=old.name, before=before, after=said)
    return serve


def delete(context: ChangeContext, old: Serve) -> None:
    deployed = [
        target.env
        for target in targets.of_serve(context.tx, old.name)
        if target.wanted is not None or target.active is not None or target.operation is not None
    ]
    if deployed:
        raise conflict(
            f"serve '{old.name}' is deployed in {', '.join(deployed)}",
            f"POST /api/v1/serve/{old.name}/undeploy/{deployed[0]} first",
            environments=deployed,
        )
    context.dirty += [Key(target.env, old.name) for target in targets.of_serve(context.tx, old.name)]
    serves.remove(context.tx, old)
    context.note("serve.delete", serve=old.name, before=asdict(old))


def create_artifact(context: ChangeContext, body: Any) -> Artifact | ArtifactJob:
    """The artifact of a model, or the job that fetches it from a git repository."""
    said = read(body, NewArtifact)
    serves.get(context.tx, said.serve_name)
    job = artifact_jobs.of_version(context.tx, said.serve_name, said.version)
    if said.model_uri is not None and (job is None or job.state == "FAILED"):
        return ensured_artifact(context, said.serve_name, said.version, said.model_uri)
    if said.model_uri is None and job is not None and job.state != "FAILED" and job.source == said.source():
        return job
    if (job is not None and job.state != "FAILED") or artifacts.find(context.tx, said.serve_name, said.version):
        raise conflict(
            f"version {said.version} of {said.serve_name} has another source, and a version never changes",
            f"choose another version, such as {artifacts.next_version(context.tx, said.serve_name)}",
        )
    job = artifact_jobs.add(
        context.tx, context.now, said.serve_name, said.version, said.source(), context.actor.name
    )  # fmt: skip
    context.note("artifact.fetch", serve=said.serve_name, after={"version": said.version, **said.source()})
    return job


def ensured_artifact(context: ChangeContext, serve: str, version: str, model_uri: str) -> Artifact:
    """The artifact of a version, made if it is new; raises ApiProblem (409) if the version has another content."""
    known = artifacts.find(context.tx, serve, version)
    if known is None:
        context.note("artifact.create", serve=serve, after={"version": version, "model_uri": model_uri})
        return artifacts.add(context.tx, context.now, serve, version, model_uri, context.actor.name)
    if known.model_uri != model_uri:
        raise conflict(
            f"version {version} of {serve} is {known.model_uri}, and a version never changes",
            f"choose another version, such as {artifacts.next_version(context.tx, serve)}",
            model_uri=known.model_uri,
        )
    return known
