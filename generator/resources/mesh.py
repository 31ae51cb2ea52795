"""Istio's rules: which identities may call, and whose JWTs are accepted."""

from __future__ import annotations

from typing import Any

from generator.plan import ManifestPlan
from generator.resources.meta import POD_LABEL, Resource, resource
from generator.spec.network import Istio

API = "security.istio.io/v1"
# Called by Prometheus and by probes, which have neither an identity nor a token.
OPEN_PATHS = ["/metrics", "/v2/health/live", "/v2/health/ready"]
KNATIVE_PATHS = ["/metrics", "/healthz"]


def resources_of(plan: ManifestPlan) -> list[Resource]:
    istio = plan.spec.istio
    if istio is None:
        return []
    policies = [policy(plan, istio)]
    return [authentication(plan, istio), *policies] if istio.issuer else policies


def authentication(plan: ManifestPlan, istio: Istio) -> Resource:
    """Refuses invalid tokens only; the policy requires that there is one."""
    rule = {
        "issuer": istio.issuer,
        "jwksUri": istio.jwks_uri,
        "audiences": istio.audiences or None,
        # For the predictor's own check.
        "forwardOriginalToken": True if plan.spec.auth.jwt else None,
    }
    content = {"spec": {"selector": selector(plan), "jwtRules": [rule]}}
    return resource(plan, API, "RequestAuthentication", plan.spec.name, content)


def policy(plan: ManifestPlan, istio: Istio) -> Resource:
    """The policy; callers that no rule names are refused."""
    rules: list[dict[str, Any]] = [{"from": [{"source": source} for source in sources(istio)]}]
    rules.append({"to": [{"operation": {"methods": ["GET"], "paths": OPEN_PATHS}}]})
    if plan.knative:
        # The autoscaler and the activator call the proxy in the pod.
        rules.append(
            {
                "from": [{"source": {"namespaces": ["knative-serving"]}}],
                "to": [{"operation": {"methods": ["GET"], "paths": KNATIVE_PATHS}}],
            }
        )
    content = {"spec": {"selector": selector(plan), "action": "ALLOW", "rules": rules}}
    return resource(plan, API, "AuthorizationPolicy", plan.spec.name, content)


def sources(istio: Istio) -> list[dict[str, list[str]]]:
    """Sources are alternatives, while all fields of a source must match: so identities and namespaces are separate."""
    token = {"requestPrincipals": [f"{istio.issuer}/*"]} if istio.issuer else {}
    callers = {"principals": istio.principals, "namespaces": istio.namespaces}
    return [{name: listed, **token} for name, listed in callers.items() if listed] or [token]


def selector(plan: ManifestPlan) -> dict[str, Any]:
    return {"matchLabels": {POD_LABEL: plan.spec.name}}
