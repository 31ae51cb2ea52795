"""A Service for callers inside the cluster, whose name stays when KServe's Services change."""

from __future__ import annotations

from generator.plan import ManifestPlan
from generator.resources import containers
from generator.resources.meta import Resource, resource
from generator.resources.network import AGENT_PORT

SERVICE_PORT = 80


def resources_of(plan: ManifestPlan) -> list[Resource]:
    """The Service leads to the pods of the stable predictor, by the label that KServe's own Service selects them by."""
    name = plan.spec.exposure.service
    if name is None or plan.part_of is not None:
        return []
    agent = plan.spec.batcher or plan.spec.payload_logger
    ports = [
        {
            "name": port["name"],
            "port": SERVICE_PORT if number == 0 else port["containerPort"],
            "targetPort": AGENT_PORT if agent and number == 0 else port["containerPort"],
            "protocol": "TCP",
            "appProtocol": "kubernetes.io/h2c" if port["containerPort"] == containers.GRPC else None,
        }
        for number, port in enumerate(containers.ports(plan))
    ]
    content = {"spec": {"selector": {"app": f"isvc.{plan.workload}"}, "ports": ports}}
    return [resource(plan, "v1", "Service", name, content)]
