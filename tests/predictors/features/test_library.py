"""Feast sets variables that every server started afterwards would go by."""

from __future__ import annotations

import os
import subprocess
import sys

CODE = """
import os
from predictors.features.library import feast
before = dict(os.environ)
assert hasattr(feast(), "FeatureStore")
assert dict(os.environ) == before, os.environ.keys() ^ before.keys()
"""


def test_nothing_of_it_is_inherited() -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PROMETHEUS_")}
    done = subprocess.run([sys.executable, "-c", CODE], env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
