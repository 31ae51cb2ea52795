"""Fetches artifacts from git repositories, one after another."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from controlplane.backends.git import GitFailed, fetch
from controlplane.backends.secret_files import MissingSecret, secret_text
from controlplane.loops.actor import ACTOR
from controlplane.store import artifact_jobs, artifacts, events, leases
from controlplane.store.artifact_jobs import ArtifactJob
from controlplane.store.database import Store
from controlplane.store.leases import Lease

log = logging.getLogger("controlplane")


class ArtifactFetcher:
    """A job that was cut off is begun again: a fetch can be repeated."""

    def __init__(self, store: Store, folder: Path, secrets: Path, lease: Callable[[], Lease]) -> None:
        """`lease` raises FencedOff unless this control plane acts."""
        self.store, self.folder, self.secrets, self.lease = store, folder, secrets, lease

    def fetch_all(self) -> None:
        """Carries out every job that waits."""
        with self.store.reading() as tx:
            jobs = artifact_jobs.unfinished(tx)
        for job in jobs:
            self.carry_out(job, self.lease())

    def carry_out(self, job: ArtifactJob, lease: Lease) -> None:
        with self.store.writing() as tx:
            leases.require(tx, lease)
            artifact_jobs.note(tx, self.store.now(), job, "RUNNING")
        source, target = job.source, self.folder / job.serve / job.version
        try:
            token = self.token(source["git_token"])
            commit = fetch(source["github_repo_url"], source["branch"], source["path"], target, token)
        except (GitFailed, MissingSecret, OSError) as error:
            log.error("artifact %s %s: %s", job.serve, job.version, error)
            with self.store.writing() as tx:
                leases.require(tx, lease)
                artifact_jobs.note(tx, self.store.now(), job, "FAILED", str(error))
            return
        with self.store.writing() as tx:
            leases.require(tx, lease)
            now = self.store.now()
            artifact_jobs.note(tx, now, job, "SUCCESSFUL", "", commit)
            artifacts.add(tx, now, job.serve, job.version, str(target), job.author)
            after = {"version": job.version, "model_uri": str(target), "commit": commit}
            events.add(tx, now, ACTOR, "artifact.create", serve=job.serve, after=after)

    def token(self, reference: dict[str, str] | None) -> str | None:
        if reference is None:
            return None
        return secret_text(self.secrets, reference["secret"], reference["key"]).strip()
