"""Runs `mlflow-kserve` within the test."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from mlflow_kserve.cli import main


@dataclass(frozen=True)
class Ended:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Shell:
    """Calls commands as a person would, of one control plane."""

    def __init__(self, capsys: pytest.CaptureFixture[str], url: str | None = None) -> None:
        self.capsys, self.url = capsys, url

    def __call__(self, *arguments: object, status: int = 0) -> Ended:
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        said = self.capsys.readouterr()
        code = end.value.code
        ended = Ended(code if isinstance(code, int) else 0, said.out, said.err)
        assert ended.status == status, ended
        return ended

    def json(self, *arguments: object, status: int = 0) -> Any:
        return self(*arguments, "-o", "json", status=status).json


def completed(words: str) -> list[str]:
    """What a shell offers for the last of the words."""
    variables = {
        "_MLFLOW_KSERVE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "mlflow_kserve"], capture_output=True, text=True, check=True, env={**os.environ, **variables},
    )  # fmt: skip
    return re.findall(r"^plain,(.*)$", done.stdout, re.MULTILINE)
