"""Whose metrics: those of one serve, or of all."""

from __future__ import annotations

from dataclasses import dataclass

ISVC_LABEL = "serving.kserve.io/inferenceservice"
"""KServe puts it on every pod of a serve."""
ISVC = "serving_kserve_io_inferenceservice"
"""The same, as Prometheus has it."""
BY = "namespace, model_name"


@dataclass(frozen=True, slots=True)
class Scope:
    """With neither it is all of them."""

    namespace: str | None = None
    serve: str | None = None
    always: bool = False
    """There is a pod at any time: the serve does not scale to zero."""

    @property
    def name(self) -> str:
        return self.serve or "all serves"

    def metrics(self, *more: str) -> str:
        """A selector for the predictor's own metrics."""
        return self.braced("model_name", *more)

    def pods(self, *more: str) -> str:
        """A selector for what Prometheus says of the pods themselves."""
        return self.braced(ISVC, *([] if self.serve else [f'{ISVC}!=""']), *more)

    def braced(self, label: str, *more: str) -> str:
        said = {"namespace": self.namespace, label: self.serve}
        parts = [*(f'{key}="{value}"' for key, value in said.items() if value), *more]
        return "{" + ",".join(parts) + "}" if parts else ""
