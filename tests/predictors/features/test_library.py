"""What Feast does to the process that imports it."""

from __future__ import annotations

import os
import subprocess
import sys

CODE = """
import os, typeguard
from predictors.features.library import feast
before, checked = dict(os.environ), typeguard.typechecked
assert hasattr(feast(), "FeatureStore")
assert dict(os.environ) == before, os.environ.keys() ^ before.keys()
assert typeguard.typechecked is checked
"""


def test_nothing_of_it_stays_behind() -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PROMETHEUS_")}
    done = subprocess.run([sys.executable, "-c", CODE], env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
