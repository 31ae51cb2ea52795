"""What docs/cleanup.md says of settings, and manifests that a cluster takes."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.client import ApiClient, V1CronJob

from predictors.cleanup.settings import CleanupSettings, read_settings
from predictors.settings.declare import env_of, flags_of

PAGE = Path(__file__).parents[3] / "docs" / "cleanup.md"
START, END = "<!-- settings: tests/predictors/cleanup/test_page.py -->", "<!-- end of settings -->"


def table() -> str:
    lines = ["| flag | environment | default | meaning |", "|---|---|---|---|"]
    for one in fields(CleanupSettings):
        default = one.metadata["shown"] or str(one.default).lower()
        lines.append(f"| `{flags_of(one)[0]}` | `{env_of(one)[0]}` | {default} | {one.metadata['help']} |")
    return "\n".join(lines)


def test_the_table_of_settings_is_current(request: pytest.FixtureRequest) -> None:
    head, rest = PAGE.read_text().split(START)
    current = f"{head}{START}\n\n{table()}\n\n{END}{rest.split(END)[1]}"
    if request.config.getoption("--write-docs"):
        PAGE.write_text(current)
    assert PAGE.read_text() == current, "run: python -m pytest tests/predictors/cleanup/test_page.py --write-docs"


def manifests() -> dict[str, Any]:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return {one["kind"]: one for one in yaml.safe_load_all(text)}


def test_the_manifests_belong_together() -> None:
    by_kind = manifests()
    role, binding, account = by_kind["Role"], by_kind["RoleBinding"], by_kind["ServiceAccount"]
    assert role["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", **account["metadata"]}]
    pod = by_kind["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == account["metadata"]["name"]
    assert {one["metadata"]["namespace"] for one in by_kind.values()} == {"models"}


def test_the_job_starts_with_the_settings_of_the_page(tmp_path: Path) -> None:
    pod = manifests()["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"] == ["python", "-m", "predictors.cleanup"]
    env = {one["name"]: one.get("value", "models") for one in container["env"]}
    assert env["CACHE_PATH"] == container["volumeMounts"][0]["mountPath"]
    assert read_settings([], {**env, "CACHE_PATH": str(tmp_path)}) == CleanupSettings(str(tmp_path), "models")


def test_the_job_has_no_field_that_a_cluster_does_not_know() -> None:
    """The official client's own classes pass over those."""
    job = manifests()["CronJob"]
    assert ApiClient().sanitize_for_serialization(V1CronJob.from_dict(job)) == job
