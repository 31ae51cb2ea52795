"""Windows of time by jobs: what they call, when, and with which rights."""

from __future__ import annotations

from typing import Any

import pytest

from predictors.scale import parser
from tests.generator.test_scaling import DAY, NIGHT, PROMETHEUS, rendered


def jobs(**said: Any) -> dict[str, dict[str, Any]]:
    return {
        resource["metadata"]["name"]: resource["spec"] for resource in rendered(**said) if resource["kind"] == "CronJob"
    }


def container(job: dict[str, Any]) -> dict[str, Any]:
    (scaler,) = job["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    return dict(scaler)


def told(job: dict[str, Any]) -> tuple[str, str | None, int, int | None]:
    """When and where, and the numbers, as the command itself reads them."""
    asked = parser().parse_args(container(job)["args"])
    assert (asked.name, asked.namespace) == ("fraud", "ml")
    assert container(job)["command"] == ["python", "-m", "predictors.scale"]
    return job["schedule"], job["timeZone"], asked.min, asked.max


def test_a_window_begins_and_ends() -> None:
    cron_jobs = jobs(scaling={"cpu": 60, "schedule": [{**DAY, "max": 9}]}, replicas={"min": 2, "max": 4})
    assert {name: told(job) for name, job in cron_jobs.items()} == {
        "fraud-scale-0-start": ("0 8 * * 1-5", "Europe/Berlin", 3, 9),
        "fraud-scale-0-end": ("0 20 * * 1-5", "Europe/Berlin", 2, 4),
    }


def test_a_window_without_a_max_has_the_usual_one() -> None:
    cron_jobs = jobs(scaling={"schedule": [DAY]}, replicas={"max": 4})
    assert told(cron_jobs["fraud-scale-0-start"])[2:] == (3, 4)


def test_where_another_window_begins_nothing_ends() -> None:
    """Two jobs at one moment would leave it to chance which of them is the last."""
    assert list(jobs(scaling={"schedule": [DAY, NIGHT]})) == ["fraud-scale-0-start", "fraud-scale-1-start"]
    elsewhere = {**NIGHT, "timezone": "UTC"}
    assert len(jobs(scaling={"schedule": [DAY, elsewhere]})) == 4


def test_a_fixed_number_changes_by_the_clock() -> None:
    cron_jobs = jobs(scaling={"by": "none", "schedule": [DAY]}, replicas={"min": 2})
    assert [told(job)[2:] for job in cron_jobs.values()] == [(3, None), (2, None)]


@pytest.mark.parametrize(
    ("scaling", "kinds"),
    [
        ({"rps": 9, **PROMETHEUS, "schedule": [DAY]}, {"ScaledObject"}),
        ({"rps": 9, **PROMETHEUS, "schedule": [{**DAY, "max": 9}]}, {"CronJob", "Role", "RoleBinding", "ServiceAccount"}),
        ({"rps": 9, "cpu": 70, **PROMETHEUS, "schedule": [DAY]}, {"CronJob", "Role", "RoleBinding", "ServiceAccount"}),
        ({"rps": 9, **PROMETHEUS}, set()),
    ],
    ids=["floor", "max", "cpu", "no schedule"],
)  # fmt: skip
def test_who_watches_the_clock_with_keda(scaling: dict[str, Any], kinds: set[str]) -> None:
    assert {resource["kind"] for resource in rendered(scaling=scaling)[1:]} == kinds


def test_fewer_pods_than_usual_are_beyond_the_clock_of_keda() -> None:
    rarely = {**NIGHT, "max": None}
    cron_jobs = jobs(scaling={"rps": 9, **PROMETHEUS, "schedule": [rarely]}, replicas={"min": 2})
    assert told(cron_jobs["fraud-scale-0-start"])[2] == 1


def test_the_jobs_may_patch_this_one_and_nothing_else() -> None:
    resources = {resource["kind"]: resource for resource in rendered(scaling={"schedule": [NIGHT]})}
    assert resources["Role"]["rules"] == [
        {
            "apiGroups": ["serving.kserve.io"],
            "resources": ["inferenceservices"],
            "resourceNames": ["fraud"],
            "verbs": ["patch"],
        }
    ]
    account = resources["ServiceAccount"]["metadata"]["name"]
    assert resources["RoleBinding"]["roleRef"]["name"] == resources["Role"]["metadata"]["name"]
    assert resources["RoleBinding"]["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": "ml"}]
    assert resources["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["serviceAccountName"] == account


def test_the_jobs_run_where_little_is_allowed() -> None:
    (job, *_) = jobs(scaling={"schedule": [NIGHT]}, image_registry="registry.example.com/ml", image_tag="1.2").values()
    assert container(job)["image"] == "registry.example.com/ml/storage:1.2"
    assert container(job)["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container(job)["securityContext"]["runAsNonRoot"] is True
    assert (job["concurrencyPolicy"], job["jobTemplate"]["spec"]["backoffLimit"]) == ("Forbid", 3)
