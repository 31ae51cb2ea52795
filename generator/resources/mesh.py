"""Istio's rules: which identities may call, and whose JWTs are accepted."""

from __future__ import annotations

from typing import Any

from generator.plan import ManifestPlan
from generator.resources.meta import POD_LABEL, Resource, resource
from generator.spec.network import Istio

API = "security.istio.io/v1"
# Called by Prometheus and by probes, which have neither an identity nor a token.
OPEN = ["/metrics", "/v2/health/live", "/v2/health/ready"]
KNATIVE = ["/metrics", "/healthz"]


def resources_of(plan: ManifestPlan) -> list[Resource]:
    wanted = plan.spec.istio
    if wanted is None:
        return []
    policies = [policy(plan, wanted)]
    return [authentication(plan, wanted), *policies] if wanted.issuer else policies


def authentication(plan: ManifestPlan, wanted: Istio) -> Resource:
    """Refuses invalid tokens only; the policy requires that there is one."""
    rule = {
        "issuer": wanted.issuer,
        "jwksUri": wanted.jwks_uri,
        "audiences": wanted.audiences or None,
        # For the predictor's own check.
        "forwardOriginalToken": True if plan.spec.auth.jwt else None,
    }
    content = {"spec": {"selector": selector(plan), "jwtRules": [rule]}}
    return resource(plan, API, "RequestAuthentication", plan.spec.name, content)


def policy(plan: ManifestPlan, wanted: Istio) -> Resource:
    """The policy; callers that no rule names are refused."""
    rules: list[dict[str, Any]] = [{"from": [{"source": source} for source in sources(wanted)]}]
    rules.append({"to": [{"operation": {"methods": ["GET"], "paths": OPEN}}]})
    if plan.knative:
        # The autoscaler and the activator call the proxy in the pod.
        rules.append(
            {
                "from": [{"source": {"namespaces": ["knative-serving"]}}],
                "to": [{"operation": {"methods": ["GET"], "paths": KNATIVE}}],
            }
        )
    content = {"spec": {"selector": selector(plan), "action": "ALLOW", "rules": rules}}
    return resource(plan, API, "AuthorizationPolicy", plan.spec.name, content)


def sources(wanted: Istio) -> list[dict[str, list[str]]]:
    """Sources are alternatives, while all fields of a source must match: so identities and namespaces are separate."""
    token = {"requestPrincipals": [f"{wanted.issuer}/*"]} if wanted.issuer else {}
    callers = {"principals": wanted.principals, "namespaces": wanted.namespaces}
    return [{name: listed, **token} for name, listed in callers.items() if listed] or [token]


def selector(plan: ManifestPlan) -> dict[str, Any]:
    return {"matchLabels": {POD_LABEL: plan.spec.name}}
