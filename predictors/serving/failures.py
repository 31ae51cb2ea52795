"""How a process ends that cannot serve: one line for the operator, the launcher told, and status 1."""

from __future__ import annotations

import logging

from predictors.environments.dependencies import DependencyError
from predictors.flavor import FlavorError
from predictors.model.loaded import LoadError
from predictors.processes.handover import receive_handover
from predictors.processes.ports import StartError
from predictors.storage.failures import SourceError, one_line

log = logging.getLogger("predictors")


class AlreadyReported(Exception):
    """Another process has reported the failure."""


def report(error: Exception) -> int:
    """Reports an error whose message is for the operator; the exit status."""
    log.error("%s", error)
    handover = receive_handover()
    if handover is not None:
        handover.report_failure(str(error))
    return 1


def report_load_failure(error: Exception) -> int:
    """Reports that the model cannot be found or loaded; the exit status."""
    if isinstance(error, AlreadyReported):
        return 1
    if isinstance(error, (LoadError, FlavorError, SourceError, DependencyError)):
        return report(error)
    log.debug("loading failed", exc_info=error)
    return report(StartError(f"the model cannot be loaded: {one_line(error)}"))
