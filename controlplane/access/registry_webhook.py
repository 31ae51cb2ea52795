"""What MLflow's registry posts when something of a model moves. The checks are the predictor's: `predictors.access`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controlplane.domain.problems import ApiProblem
from predictors.access.refusals import RequestError
from predictors.access.webhook import Webhook
from predictors.access.webhook import may_move as may_move  # for those who read an event

SEEN = "registry-deliveries"


class RegistryWebhook:
    def __init__(self, secret_file: str | None, data: Path) -> None:
        self.webhook = Webhook(secret_file, data / SEEN)

    def event(self, headers: Mapping[str, str], body: bytes) -> Mapping[str, Any]:
        """The event of a delivery that comes from the registry. Raises ApiProblem."""
        try:
            return self.webhook.event(headers, body)
        except RequestError as error:
            raise ApiProblem(error.status, str(error), way_out="give the registry's webhook the same secret") from None
        except OSError as error:  # the file has gone, or the disk is full
            detail = f"the delivery cannot be checked: {error.strerror}"
            raise ApiProblem(503, detail, way_out="the registry tries again") from None
