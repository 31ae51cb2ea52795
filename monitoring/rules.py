"""All rules for one serve or for all, in the format of Prometheus and its operator."""

from __future__ import annotations

from typing import Any

from monitoring.alerts import alerts
from monitoring.burning import burning
from monitoring.objectives import Objectives
from monitoring.recording import recording_rules
from monitoring.scope import Scope

Rule = dict[str, Any]
RUNBOOKS = "docs/runbooks"
"""Folder of the runbooks in a clone, used unless another URL is given."""


def groups(scope: Scope, objectives: Objectives | None = None, runbooks: str = RUNBOOKS) -> list[dict[str, Any]]:
    """The content of a rule file: one group, so that alerts see values recorded in the same evaluation."""
    slo = objectives or Objectives()
    name = f"mlflow-kserve-{scope.namespace}-{scope.serve}" if scope.serve else "mlflow-kserve"
    alerting = [with_runbook(rule, runbooks) for rule in [*burning(scope, slo), *alerts(scope)]]
    return [{"name": name, "rules": [*recording_rules(scope, slo), *alerting]}]


def with_runbook(rule: Rule, runbooks: str) -> Rule:
    url = f"{runbooks.rstrip('/')}/{rule['alert']}.md"
    return rule | {"annotations": rule["annotations"] | {"runbook_url": url}}
