"""`python -m predictors.mlflow`: resolves the model, detects its flavor and serves it."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Sequence

from predictors.processes.handover import receive_handover
from predictors.runtime import garbage
from predictors.runtime.cpus import limit_threads
from predictors.runtime.lazy_imports import defer_server_imports
from predictors.serving.startup import read_settings
from predictors.telemetry import logs


def main(
    argv: Sequence[str] | None = None, forced_flavor: str | None = None, prog: str | None = None
) -> None:  # fmt: skip
    """The command; the process ends with the server's exit status."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to read again
    arguments = sys.argv[1:] if argv is None else list(argv)
    module = forced_flavor or "mlflow"
    model = f"a {forced_flavor} model" if forced_flavor else "an MLflow model"
    settings = read_settings(
        arguments,
        prog=prog or f"python -m predictors.{module}",
        description=f"Serve {model} over V1, V2 (REST and gRPC) and MLflow's /invocations.",
        forced_flavor=forced_flavor,
    )
    sys.argv = sys.argv[:1]  # kserve would parse them when it is imported, and has other flags
    logs.configure(settings.log_format, settings.log_level)
    if settings.env_manager != "local" and receive_handover() is None:
        from predictors.serving.launcher import launch

        raise SystemExit(launch(settings, f"predictors.{module}", arguments))
    limit_threads(settings.workers)
    if settings.workers > 1:
        from predictors.telemetry.metrics import share_between_processes

        share_between_processes()
    defer_server_imports()
    with garbage.paused():
        from predictors.serving.process import Serving
    gc.freeze()  # modules stay: the collector need not look through them

    raise SystemExit(Serving(settings).run())


if __name__ == "__main__":
    main()
