"""What the loops count, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

PREFIX = "mlflow_kserve_controlplane"


class LoopMetrics:
    """In a registry of its own: a test may have several control planes."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reconciled = Counter(
            f"{PREFIX}_reconciled", "Targets that were seen to, by outcome.", ["outcome"], registry=self.registry
        )
        self.seconds = Histogram(
            f"{PREFIX}_reconcile_seconds", "Time to see to a target.", registry=self.registry
        )  # fmt: skip
        self.operations = Counter(
            f"{PREFIX}_operations", "Changes that have ended, by kind and state.", ["kind", "state"],
            registry=self.registry,
        )  # fmt: skip
        self.deliveries = Counter(
            f"{PREFIX}_deliveries", "Attempts to deliver an event to a webhook, by outcome.", ["outcome"],
            registry=self.registry,
        )  # fmt: skip
        self.waiting = Gauge(f"{PREFIX}_waiting", "Targets that wait to be seen to.", registry=self.registry)
        self.acts = Gauge(
            f"{PREFIX}_acts", "1 if this control plane is the one that acts.", registry=self.registry
        )  # fmt: skip
