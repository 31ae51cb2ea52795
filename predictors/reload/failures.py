"""Why a version is not served, in one line for the operator."""

from __future__ import annotations

from predictors.environments.dependencies import DependencyError
from predictors.environments.requirements import RequirementsError
from predictors.flavor import FlavorError
from predictors.model.loaded import LoadError
from predictors.processes.handover import ReplaceError
from predictors.storage.failures import SourceError, one_line


class ReloadRefused(Exception):
    """A version that cannot replace the served one; the message is one line."""


ONE_LINE_ERRORS = (
    ReloadRefused, LoadError, FlavorError, SourceError, DependencyError, RequirementsError, ReplaceError,
)  # fmt: skip


def in_short(error: Exception) -> str:
    return str(error) if isinstance(error, ONE_LINE_ERRORS) else one_line(error)
