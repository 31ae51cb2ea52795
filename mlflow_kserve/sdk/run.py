"""A function that is served: how it is, what it answers, and how it is ended and begun again."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from mlflow_kserve.client.flows import Steps
from mlflow_kserve.sdk.payloads import infer_request
from mlflow_kserve.sdk.status import NotServing, RunStatus

if TYPE_CHECKING:
    import requests

    from mlflow_kserve.client.api import ApiClient
    from mlflow_kserve.sdk.functions import FunctionSpec
    from mlflow_kserve.sdk.targets import RunTarget

T = TypeVar("T")
WAIT_SECONDS = 300.0
OBSERVE_SECONDS = 30.0


class RunBase:
    """What runs have in common, whether they block or not."""

    def __init__(self, spec: FunctionSpec, target: RunTarget) -> None:
        self.id = uuid.uuid4().hex
        self.name = spec.name
        self.status = RunStatus("CREATED")
        """As of the last `refresh` or `wait`."""
        self._spec, self._target = spec, target

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.status.state}>"

    def _address(self, model_name: str | None) -> str:
        """The URL of the V2 inference; raises NotServing."""
        if self.status.service is None:
            reason = f": {self.status.message}" if self.status.message else ""
            raise NotServing(f"{self.name} is {self.status.state}{reason}; run.wait() waits until it answers")
        name = self._target.served_name if model_name in (None, self._spec.model_name) else str(model_name)
        return f"{self.status.service['url']}/v2/models/{quote(name, safe='')}/infer"


class Run(RunBase):
    """A function that is served; every method blocks until it is done."""

    def __init__(self, spec: FunctionSpec, target: RunTarget, client: ApiClient | None) -> None:
        super().__init__(spec, target)
        self._client = client

    def _carry_out(self, steps: Steps[T]) -> T:
        return self._client.follow(steps) if self._client else at_once(steps)

    def refresh(self) -> Run:
        """Reads `status` anew."""
        self.status = self._carry_out(self._target.observe(0))
        return self

    def wait(self, timeout: float = WAIT_SECONDS) -> Run:
        """Waits until the run answers, has stopped or has failed, or the time is over: `status` tells."""
        deadline = time.monotonic() + timeout
        self.refresh()
        while not self.status.has_settled and (left := deadline - time.monotonic()) > 0:
            self.status = self._carry_out(self._target.observe(min(left, OBSERVE_SECONDS)))
        return self

    def invoke(
        self,
        inputs: Any = None,
        *,
        json: Any = None,
        model_name: str | None = None,
        method: str = "POST",
        url: str | None = None,
        **requests_kwargs: Any,
    ) -> requests.Response:
        """Sends a request, by default to the V2 inference of the model, and returns its response.

        `inputs` is a DataFrame, an array, records or rows, of which a V2 request is made; `json` is a body as it is.
        Everything else is for `requests.request`. Raises NotServing while the run does not answer.
        """
        import requests

        if inputs is not None:
            json = infer_request(inputs)
        if url is None and self.status.service is None:
            self.refresh()
        options = {"timeout": WAIT_SECONDS} | requests_kwargs
        return requests.request(  # noqa: S113 - the options have one
            method, url or self._address(model_name), json=json, **options
        )

    def logs(self, lines: int = 100) -> str:
        """The last lines that the server has written."""
        return self._carry_out(self._target.logs(lines))

    def stop(self) -> Run:
        """Ends the service; requests in flight finish first."""
        self._carry_out(self._target.stop())
        return self.refresh()

    def resume(self) -> Run:
        """Serves again what was stopped; `wait` waits until it answers."""
        self._carry_out(self._target.start())
        return self.refresh()


def at_once(steps: Steps[T]) -> T:
    """The result of steps that make no calls."""
    try:
        next(steps)
    except StopIteration as end:
        value: T = end.value
        return value
    raise AssertionError("a run on this machine makes no calls")
