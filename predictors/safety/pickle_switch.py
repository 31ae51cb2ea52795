"""MLflow's own refusal of pickles, where it helps."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from predictors.safety.model_files import Policy
from predictors.safety.skops_types import SKOPS_FLAVORS

PICKLE_SWITCH = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"


@contextmanager
def guarded_load(flavor: str, policy: Policy) -> Iterator[None]:
    """Makes MLflow refuse pickles while a checked model is loaded. Its switch is global: load one model at a time.

    MLflow treats skops files as pickles, so the switch is left alone for flavors that may use skops.
    """
    if policy.allow_code_execution or flavor in (*SKOPS_FLAVORS, "pyfunc"):
        yield
        return
    before = os.environ.get(PICKLE_SWITCH)
    os.environ[PICKLE_SWITCH] = "false"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(PICKLE_SWITCH, None)
        else:
            os.environ[PICKLE_SWITCH] = before
