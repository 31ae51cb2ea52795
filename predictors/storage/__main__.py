"""`python -m predictors.storage URI FOLDER`: fetches a model into a folder, as KServe's storage initializer does."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Sequence

from predictors.storage.failures import StorageError, as_storage_error
from predictors.storage.initializer import Initializer
from predictors.storage.interruption import stop
from predictors.storage.settings import read_settings
from predictors.telemetry import logs

log = logging.getLogger("predictors.storage")


def main(argv: Sequence[str] | None = None) -> None:
    """Ends the process with an exit code of docs/storage.md unless every model was fetched."""
    jobs = read_settings(sys.argv[1:] if argv is None else argv)
    logs.configure(jobs[0].log_format, jobs[0].log_level)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # its warnings hold signed URLs; our retries log their own
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    for settings in jobs:
        try:
            Initializer(settings).run()
        except StorageError as error:
            log.error("%s", error)
            raise SystemExit(error.code) from None
        except Exception as error:
            failure = as_storage_error(error, settings.model_uri or "")
            log.error("%s", failure)
            log.debug("the original error", exc_info=True)
            raise SystemExit(failure.code) from None


if __name__ == "__main__":
    main()
