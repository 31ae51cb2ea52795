"""What the loops count, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

PREFIX = "mlflow_kserve_controlplane"
STEP_BUCKETS = (1, 10, 60, 300, 900, 3600, 4 * 3600, 24 * 3600, 7 * 24 * 3600)


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
        self.rollouts = Gauge(
            f"{PREFIX}_rollouts", "Rollouts by steps under way, by state.", ["state"], registry=self.registry
        )
        self.steps = Counter(
            f"{PREFIX}_rollout_steps", "Steps of rollouts that have ended, by outcome.", ["outcome"],
            registry=self.registry,
        )  # fmt: skip
        self.step_seconds = Histogram(
            f"{PREFIX}_rollout_step_seconds", "How long steps took that have passed.", registry=self.registry,
            buckets=STEP_BUCKETS,
        )  # fmt: skip
        self.looks = Counter(
            f"{PREFIX}_looks", "Looks at the evidence of rollouts, by verdict.", ["verdict"], registry=self.registry
        )
        self.deliveries = Counter(
            f"{PREFIX}_deliveries", "Attempts to deliver an event to a webhook, by outcome.", ["outcome"],
            registry=self.registry,
        )  # fmt: skip
        self.waiting = Gauge(f"{PREFIX}_waiting", "Targets that wait to be seen to.", registry=self.registry)
        self.acts = Gauge(
            f"{PREFIX}_acts", "1 if this control plane is the one that acts.", registry=self.registry
        )  # fmt: skip

    def count_rollouts(self, running: int, paused: int) -> None:
        """At each full look."""
        self.rollouts.labels("running").set(running)
        self.rollouts.labels("paused").set(paused)
