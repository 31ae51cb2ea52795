"""`python -m predictors.storage URI FOLDER`: fetches a model into a folder, as KServe's storage initializer does."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Sequence

from predictors.storage.failures import StorageError, explained
from predictors.storage.initializer import Initializer, log, stop
from predictors.storage.settings import read_settings
from predictors.telemetry import logs


def main(argv: Sequence[str] | None = None) -> None:
    """The command; ends the process with the exit code of docs/storage.md."""
    jobs = read_settings(sys.argv[1:] if argv is None else argv)
    logs.configure(jobs[0].log_format, jobs[0].log_level)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # our own retries say what they do, and no signed URLs
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    for settings in jobs:
        try:
            Initializer(settings).run()
        except StorageError as error:
            log.error("%s", error)
            raise SystemExit(error.code) from None
        except Exception as error:
            found = explained(error, settings.model_uri or "")
            log.error("%s", found)
            log.debug("the whole of it", exc_info=True)
            raise SystemExit(found.code) from None


if __name__ == "__main__":
    main()
