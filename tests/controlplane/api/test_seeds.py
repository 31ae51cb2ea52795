"""The examples of the platform that this one follows, body by body."""

from __future__ import annotations

from typing import Any

import pytest

from tests.controlplane.plane import Plane

PROD: dict[str, Any] = {
    "name": "prod",
    "environment_configs": {
        "domain_suffix": ".mycompany.com",
        "cluster_name": "prod-k8s-cluster",
        "namespace": "ml-serve",
        "security_group": "sg-12345, sg-67890",
        "subnets": "subnet-abc123, subnet-def456",
        "ft_redis_url": "redis://prod-redis:6379",
        "workflow_url": "http://workflow-service:8080",
    },
}
ONE_CLICK: dict[str, Any] = {
    "serve_name": "my-model",
    "model_uri": "mlflow-artifacts:/45/abc123/artifacts/model",
    "env": "prod",
    "cores": 4,
    "memory": 8,
    "node_capacity": "spot",
    "min_replicas": 1,
    "max_replicas": 3,
}
SERVE = {
    "name": "my-model-serve",
    "type": "api",
    "description": "Production model serving",
    "space": "ml-team",
}
INFRA: dict[str, Any] = {
    "api_serve_infra_config": {
        "backend_type": "fastapi",
        "cores": 4,
        "memory": 8,
        "min_replicas": 2,
        "max_replicas": 10,
        "node_capacity_type": "spot",
    }
}
DEPLOY = {
    "env": "prod",
    "artifact_version": "v1.0.0",
    "api_serve_deployment_config": {
        "deployment_strategy": "rolling",
        "environment_variables": {"MODEL_PATH": "/models/production"},
    },
}


@pytest.fixture
def prod(plane: Plane) -> Plane:
    plane.post("/environment", PROD, 201)
    return plane


def test_an_environment_has_what_was_said(prod: Plane) -> None:
    got = prod.get("/environment/prod")
    assert got["name"] == "prod"
    assert PROD["environment_configs"].items() <= got["environment_configs"].items()
    assert [each["name"] for each in prod.get("/environment")["items"]] == ["local", "prod"]


def test_an_environment_may_be_said_flat(plane: Plane) -> None:
    flat = {"name": "prod", **PROD["environment_configs"]}
    assert plane.post("/environment", flat, 201)["environment_configs"]["namespace"] == "ml-serve"


@pytest.mark.parametrize("nested", [True, False])
def test_a_patch_of_an_environment_changes_only_what_it_names(prod: Plane, nested: bool) -> None:
    fields = {"domain_suffix": ".updated-domain.com"}
    got = prod.patch("/environment/prod", {"environment_configs": fields} if nested else fields)
    expected = {**PROD["environment_configs"], **fields}
    assert expected.items() <= got["environment_configs"].items()


def test_an_environment_is_deleted_unless_it_is_used(prod: Plane) -> None:
    prod.deploy(**{key: value for key, value in ONE_CLICK.items() if key not in ("serve_name", "model_uri", "env")},
                serve="my-model", uri=ONE_CLICK["model_uri"], env="prod")  # fmt: skip
    problem = prod.send("DELETE", "/environment/prod").json()
    assert problem["status"] == 409
    assert problem["serves"] == ["my-model"]
    prod.post("/serve/undeploy-model", {"serve_name": "my-model", "env": "prod"})
    prod.settle()
    assert prod.send("DELETE", "/serve/my-model").status_code == 204
    assert prod.send("DELETE", "/environment/prod").status_code == 204
    assert prod.send("GET", "/environment/prod").status_code == 404


def test_deploy_model_and_undeploy_model(prod: Plane) -> None:
    reply = prod.post("/serve/deploy-model", ONE_CLICK)
    assert reply["operation"]["state"] == "RUNNING"
    prod.settle()
    status = prod.status("my-model", "prod")
    assert (status["status"], status["revision"], status["artifact_version"]) == ("READY", 1, "v1")
    infra = prod.get("/serve/my-model/infra-config/prod")["api_serve_infra_config"]
    assert infra == {
        "backend_type": "fastapi", "cores": 4, "memory": 8, "min_replicas": 1, "max_replicas": 3,
        "node_capacity_type": "spot", "additional_hosts": [],
    }  # fmt: skip
    assert prod.operation(reply)["state"] == "SUCCEEDED"
    reply = prod.post("/serve/undeploy-model", {"serve_name": "my-model", "env": "prod"})
    prod.settle()
    assert prod.operation(reply)["state"] == "SUCCEEDED"
    assert prod.status("my-model", "prod")["status"] == "STOPPED"


def test_the_one_click_example_of_the_runtime(prod: Plane) -> None:
    reply = prod.post(
        "/serve/deploy-model",
        {"serve_name": "my-model", "model_uri": "models:/my-model/Production", "artifact_version": "v1", "env": "prod",
         "cores": 4, "memory": 8},
    )  # fmt: skip
    assert reply["artifact_version"] == "v1"


@pytest.fixture
def standard(prod: Plane) -> Plane:
    prod.post("/serve", SERVE, 201)
    prod.post("/serve/my-model-serve/infra-config/prod", INFRA, 201)
    artifact = {"serve_name": "my-model-serve", "version": "v1.0.0", "model_uri": "models:/my-model/1"}
    prod.post("/artifact", artifact, 201)
    prod.post("/serve/my-model-serve/deploy", DEPLOY)
    prod.settle()
    return prod


def test_the_standard_workflow(standard: Plane) -> None:
    status = standard.status("my-model-serve", "prod")
    assert (status["status"], status["artifact_version"]) == ("READY", "v1.0.0")
    serve = standard.get("/serve/my-model-serve")
    assert SERVE.items() <= serve.items()
    assert serve["environments"] == ["prod"]
    spec = standard.get("/serve/my-model-serve/revisions?env=prod")["items"][0]["spec"]
    assert spec["env"] == {
        "FT_REDIS_URL": "redis://prod-redis:6379",
        "WORKFLOW_URL": "http://workflow-service:8080",
        "MODEL_PATH": "/models/production",
    }
    assert (spec["replicas"], spec["resources"]) == ({"min": 2, "max": 10}, {"cores": "4", "memory": "8Gi"})
    assert (spec["namespace"], spec["node_capacity"]) == ("ml-serve", "spot")


def test_a_change_of_the_infrastructure_redeploys(standard: Plane) -> None:
    change = {"api_serve_infra_config": {"min_replicas": 5, "max_replicas": 20, "cores": 8, "memory": 16}}
    reply = standard.patch("/serve/my-model-serve/infra-config/prod", change, 202)
    assert reply["deployment"]["revision"] == 2
    standard.settle()
    assert standard.status("my-model-serve", "prod")["revision"] == 2
    infra = standard.get("/serve/my-model-serve/infra-config/prod")["api_serve_infra_config"]
    assert infra == {**INFRA["api_serve_infra_config"], **change["api_serve_infra_config"], "additional_hosts": []}


def test_the_body_of_the_code_is_taken_as_well(standard: Plane) -> None:
    body = {"api_serve_config": {"backend_type": "fastapi", "fast_api_config": {"cores": 2, "max_replicas": 12}}}
    standard.patch("/serve/my-model-serve/infra-config/prod", body, 202)
    infra = standard.get("/serve/my-model-serve/infra-config/prod")["api_serve_infra_config"]
    assert (infra["cores"], infra["max_replicas"], infra["memory"]) == (2, 12, 8)


def test_health_and_pages(plane: Plane) -> None:
    for path in ("/healthcheck", "/readycheck", "/openapi.json"):
        assert plane.client.get(f"http://localhost{path}").status_code == 200


def test_the_artifact_of_a_repository(standard: Plane) -> None:
    artifact = {
        "serve_name": "my-model-serve",
        "version": "v2.0.0",
        "github_repo_url": "https://github.com/myorg/my-model",
        "branch": "main",
    }
    job = standard.post("/artifact", artifact, 201)
    assert artifact.items() <= job.items()
    assert standard.get(f"/artifact_builder_job/{job['job_id']}/status")["status"] == "PENDING"
