"""The back end of each environment: this machine, or a namespace of a cluster."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from controlplane.backends.backend import Backend, BackendAway
from controlplane.domain.environments import EnvironmentConfig

if TYPE_CHECKING:
    from controlplane.backends.kserve.api import KubernetesApi


class Backends:
    """Connections to clusters are made when they are needed first, and kept."""

    def __init__(self, local: Backend) -> None:
        self.local = local
        self.lock = threading.Lock()
        self.apis: dict[str, KubernetesApi] = {}
        self.namespaces: dict[tuple[str, str], Backend] = {}

    def of(self, config: EnvironmentConfig) -> Backend:
        """Raises BackendAway if there is no way to the cluster."""
        if config.backend == "local":
            return self.local
        place = config.kube_context, config.namespace
        with self.lock:
            if place not in self.namespaces:
                self.namespaces[place] = self.in_cluster(*place)
            return self.namespaces[place]

    def in_cluster(self, context: str, namespace: str) -> Backend:
        try:
            from controlplane.backends.kserve.api import KubernetesApi
            from controlplane.backends.kserve.backend import KServeBackend
        except ImportError as error:
            raise BackendAway(
                f"clusters need {error.name}, which is not installed: pip install 'mlflow-kserve[controlplane-kserve]'"
            ) from None
        if context not in self.apis:
            self.apis[context] = KubernetesApi(context)
        return KServeBackend(self.apis[context], namespace)

    def close(self) -> None:
        for backend in (self.local, *self.namespaces.values()):
            backend.close()
