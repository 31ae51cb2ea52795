"""`python -m predictors.cleanup`: removes entries of a model cache that no pod uses, and reports what it did."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from predictors.cleanup.pods import Cluster
from predictors.cleanup.report import Report
from predictors.cleanup.run import CleanupRun
from predictors.cleanup.settings import CleanupSettings, read_settings
from predictors.cluster import ClusterError
from predictors.storage.cache import Busy, locked

DONE, CLUSTER_FAILED, INCOMPLETE = 0, 1, 3  # 2: an invalid setting
CLEANUP_LOCK = ".cleanup"
"""The lock of the clean-up itself; no entry has such a key."""


def main(argv: Sequence[str] | None = None) -> int:
    settings = read_settings(sys.argv[1:] if argv is None else argv)
    report = Report(settings.dry_run, settings.json)
    status = clean(settings, report)
    report.finish()
    return status


def clean(settings: CleanupSettings, report: Report) -> int:
    try:
        if settings.dry_run:
            return run(CleanupRun(settings, report))
        # Two at once would each make room, and together remove more than the limit requires.
        with locked(settings.root, CLEANUP_LOCK, wait=False):
            return run(CleanupRun(settings, report))
    except Busy:
        report.note("another clean-up of this cache is running: nothing to do")
        return DONE
    except ClusterError as error:
        report.fail(f"{error}; nothing was removed")
        return CLUSTER_FAILED
    except OSError as error:
        report.fail(f"CACHE_PATH: {settings.root} cannot be cleaned: {error.strerror or error}")
        return INCOMPLETE


def run(cleanup: CleanupRun) -> int:
    cleanup.clean(Cluster())
    return INCOMPLETE if cleanup.report.has_failed else DONE


if __name__ == "__main__":
    raise SystemExit(main())
