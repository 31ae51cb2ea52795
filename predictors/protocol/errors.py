"""The errors of a request: one class per kind of failure, the same for every protocol."""

from __future__ import annotations

from predictors.protocol.names import shortened


class RequestError(Exception):
    """The request is answered with `status`; `str(error)` is safe to show to the caller, and never long."""

    status = 400
    kind = "invalid_input"
    headers: tuple[tuple[str, str], ...] = ()
    logged = ""
    """What the log says of it, if the message repeats data."""
    mlflow_code = ""
    """MLflow's code for it, if that is not the one of its status."""

    def __init__(self, message: str = "") -> None:
        super().__init__(shortened(message))


class InvalidInput(RequestError):
    """The caller's payload does not fit the protocol or the model's signature."""

    def __init__(self, message: str = "", *, logged: str = "") -> None:
        super().__init__(message)
        self.logged = logged


class SignatureMismatch(InvalidInput):
    """The names, shapes or params of a request are not those of the signature."""

    mlflow_code = "INVALID_PARAMETER_VALUE"


class Unauthorized(RequestError):
    status = 401
    kind = "unauthorized"


class Forbidden(RequestError):
    status = 403
    kind = "forbidden"


class NotFound(RequestError):
    status = 404
    kind = "not_found"


class MethodNotAllowed(RequestError):
    status = 405
    kind = "method_not_allowed"

    def __init__(self, message: str, allow: str) -> None:
        super().__init__(message)
        self.headers = (("allow", allow),)


class Conflict(RequestError):
    """The request conflicts with the model that is served, such as with its version."""

    status = 409
    kind = "conflict"


class TooLarge(RequestError):
    status = 413
    kind = "too_large"


class UnsupportedMediaType(RequestError):
    status = 415
    kind = "unsupported_media_type"


class FeatureMissing(RequestError):
    """Feast has no value for an entity of the request, or only an outdated one."""

    status = 424
    kind = "feature_missing"


class TooManyRequests(RequestError):
    status = 429
    kind = "too_many_requests"


class ModelFailure(RequestError):
    """The model failed, which is not the caller's fault; only the log has the details."""

    status = 500
    kind = "model_error"


class Abandoned(RequestError):
    """The caller has disconnected: nobody reads the reply, but metrics count it."""

    status = 499
    kind = "client_gone"


class InternalError(RequestError):
    """A bug in the server; only the log has the details."""

    status = 500
    kind = "internal_error"


class NotSupported(RequestError):
    status = 501
    kind = "not_supported"


class Overloaded(RequestError):
    """Too many requests are waiting; the caller may try again after `retry_after` seconds."""

    status = 503
    kind = "overloaded"

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.headers = (("retry-after", str(retry_after)),)


class FeaturesUnavailable(RequestError):
    """Feast does not answer; the caller may try again soon."""

    status = 503
    kind = "features_unavailable"
    headers = (("retry-after", "1"),)


class TimedOut(RequestError):
    status = 504
    kind = "timeout"


class NotReady(RequestError):
    status = 503
    kind = "not_ready"
