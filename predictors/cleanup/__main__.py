"""`python -m predictors.cleanup`: looks at the cache, asks the cluster, removes what may go, and says what it did."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from predictors.cleanup.pods import Cluster
from predictors.cleanup.report import Report
from predictors.cleanup.run import CleanupRun
from predictors.cleanup.settings import CleanupSettings, read_settings
from predictors.cluster import ClusterError
from predictors.storage.cache import Busy, locked

DONE, NO_ANSWER, NOT_ALL = 0, 1, 3  # 2: a setting cannot be used
ITSELF = ".cleanup"
"""The lock of the clean-up; no entry has such a key."""


def main(argv: Sequence[str] | None = None) -> int:
    settings = read_settings(sys.argv[1:] if argv is None else argv)
    report = Report(settings.dry_run, settings.json)
    status = clean(settings, report)
    report.finish()
    return status


def clean(settings: CleanupSettings, report: Report) -> int:
    try:
        if settings.dry_run:
            return finished(CleanupRun(settings, report))
        # Two at once would each make room, and remove more than the limit asks for.
        with locked(settings.root, ITSELF, wait=False):
            return finished(CleanupRun(settings, report))
    except Busy:
        report.note("another clean-up of this cache is at work: nothing to do")
        return DONE
    except ClusterError as error:
        report.fail(f"{error}; nothing was removed")
        return NO_ANSWER
    except OSError as error:
        report.fail(f"CACHE_PATH: {settings.root} cannot be cleaned: {error.strerror or error}")
        return NOT_ALL


def finished(run: CleanupRun) -> int:
    run.clean(Cluster())
    return NOT_ALL if run.report.has_failed else DONE


if __name__ == "__main__":
    raise SystemExit(main())
