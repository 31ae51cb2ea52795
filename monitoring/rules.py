"""All rules for a serve, or for all serves, as Prometheus and its operator take them."""

from __future__ import annotations

from typing import Any

from monitoring.alerts import alerts
from monitoring.burning import burning
from monitoring.objectives import Objectives
from monitoring.recording import recording_rules
from monitoring.scope import Scope

Rule = dict[str, Any]
RUNBOOKS = "docs/runbooks"
"""Where the pages are in a clone; whoever puts them elsewhere says so."""


def groups(scope: Scope, objectives: Objectives | None = None, runbooks: str = RUNBOOKS) -> list[dict[str, Any]]:
    """The content of a rule file: one group, in which alerts see what was recorded in the same round."""
    wanted = objectives or Objectives()
    name = f"mlflow-kserve-{scope.namespace}-{scope.serve}" if scope.serve else "mlflow-kserve"
    alerting = [with_runbook(rule, runbooks) for rule in [*burning(scope, wanted), *alerts(scope)]]
    return [{"name": name, "rules": [*recording_rules(scope, wanted), *alerting]}]


def with_runbook(rule: Rule, runbooks: str) -> Rule:
    url = f"{runbooks.rstrip('/')}/{rule['alert']}.md"
    return rule | {"annotations": rule["annotations"] | {"runbook_url": url}}
