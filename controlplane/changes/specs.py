"""A spec as in a file, applied: any number of times with the same outcome."""

from __future__ import annotations

from typing import Any

from controlplane.changes.context import ChangeContext
from controlplane.changes.deploy import Begun, artifact_of, begin, deployment_before
from controlplane.domain.artifacts import KnownModel
from controlplane.domain.bodies import read
from controlplane.domain.deployments import AppliedSpec
from controlplane.domain.infra import patched
from controlplane.domain.revisions import Content
from controlplane.domain.serves import NewServe
from controlplane.store import environments, serves, targets


def apply_spec(context: ChangeContext, body: Any, model: KnownModel | None = None) -> Begun | None:
    """Makes a serve what a spec says, and all that is new for it; None if it is that already."""
    said = read(body, AppliedSpec)
    environment = environments.get(context.tx, said.env)
    serve, uri = said.name, said.model
    if serves.find(context.tx, serve) is None:
        serves.add(context.tx, context.now, NewServe(name=serve, description="deployed with a spec"))
        context.note("serve.create", serve=serve, after={"name": serve})
    overlay = patched({}, said.overlay())
    artifact = artifact_of(context, serve, uri, said.artifact_version)
    model = model or KnownModel(uri)
    content = Content(
        artifact_version=artifact.version,
        model_uri=model.uri,
        infra=overlay,
        deployment=deployment_before(context.tx, serve, said.env),
        environment=environment.config,
        flavor=model.flavor,
        model_size=model.size,
    )
    target = targets.find(context.tx, serve, said.env)
    wanted = targets.revision(context.tx, serve, said.env, target.wanted) if target and target.wanted else None
    if wanted is not None and wanted.sha256 == content.sha256:
        return None
    known = serves.infra(context.tx, serve, said.env)
    if known is None or known.overlay != overlay:
        serves.set_infra(context.tx, context.now, serve, said.env, overlay, known)
    return begin(context, "deploy", serve, environment, content, said.reason or "a spec was applied")
