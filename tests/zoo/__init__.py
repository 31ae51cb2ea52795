"""Real saved MLflow models of every flavor and file format, built when a test first asks for one."""

from tests.zoo import boosting, deep, python, sklearn
from tests.zoo.case import ZooModel

CASES = [*sklearn.CASES, *boosting.CASES, *deep.CASES, *python.CASES]
BY_ID = {case.id: case for case in CASES}

__all__ = ["BY_ID", "CASES", "ZooModel"]
