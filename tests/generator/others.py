"""The fields of other projects' kinds that manifests of a serve use, as structural schemas.

Only what a serve has a use for is named here, so a field that is not is either a mistake or a reason to add it.
"""

from __future__ import annotations

from typing import Any

from generator.structural import Schema

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer"}
YES: Schema = {"type": "boolean"}
ANY: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
TEXTS: Schema = {"type": "array", "items": TEXT}
LABELS: Schema = {"type": "object", "additionalProperties": TEXT}
# How long, in Prometheus' words and in those of the Gateway API: neither knows fractions.
INTERVAL: Schema = {
    "type": "string",
    "pattern": r"^(0|([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$",
}
TIMEOUT: Schema = {"type": "string", "pattern": r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"}
PORT: Schema = {"x-kubernetes-int-or-string": True}


def each(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def fields(*required: str, **properties: Schema) -> Schema:
    return {"type": "object", "required": list(required), "properties": properties}


def choice(*options: str) -> Schema:
    return {"type": "string", "enum": list(options)}


def kind(spec: Schema) -> Schema:
    return fields("spec", metadata=ANY, spec=spec, apiVersion=TEXT, kind=TEXT)


SELECTOR = fields(
    matchLabels=LABELS,
    matchExpressions=each(fields("key", "operator", key=TEXT, operator=TEXT, values=TEXTS)),
)
RELABELING = fields(
    sourceLabels=TEXTS,
    separator=TEXT,
    targetLabel=TEXT,
    regex=TEXT,
    replacement=TEXT,
    modulus=NUMBER,
    action=choice(
        *("replace", "keep", "drop", "hashmod", "labelmap", "labeldrop", "labelkeep", "lowercase", "uppercase"),
        *("keepequal", "dropequal"),
    ),
)
SCRAPE: dict[str, Schema] = {
    "port": TEXT,
    "targetPort": PORT,
    "path": TEXT,
    "scheme": choice("http", "https", "HTTP", "HTTPS"),
    "interval": INTERVAL,
    "scrapeTimeout": INTERVAL,
    "honorLabels": YES,
    "params": ANY,
    "relabelings": each(RELABELING),
    "metricRelabelings": each(RELABELING),
    "tlsConfig": ANY,
    "authorization": ANY,
    "bearerTokenSecret": fields("key", key=TEXT, name=TEXT, optional=YES),
}
MONITOR: dict[str, Schema] = {
    "selector": SELECTOR,
    "namespaceSelector": fields(any=YES, matchNames=TEXTS),
    "jobLabel": TEXT,
    "sampleLimit": NUMBER,
}
RULE = fields(
    "expr",
    alert=TEXT,
    record=TEXT,
    expr=PORT,
    labels=LABELS,
    annotations=LABELS,
    keep_firing_for=INTERVAL,
    **{"for": INTERVAL},
)
TRIGGER = fields(
    "type",
    "metadata",
    type=TEXT,
    name=TEXT,
    metadata=LABELS,
    metricType=choice("AverageValue", "Value", "Utilization"),
    useCachedMetrics=YES,
    authenticationRef=fields("name", name=TEXT, kind=TEXT),
)
SCALING_RULES = fields(
    stabilizationWindowSeconds=NUMBER,
    selectPolicy=TEXT,
    policies=each(fields("type", "value", "periodSeconds", type=TEXT, value=NUMBER, periodSeconds=NUMBER)),
)
SCALED_OBJECT = fields(
    "scaleTargetRef",
    "triggers",
    scaleTargetRef=fields("name", name=TEXT, apiVersion=TEXT, kind=TEXT, envSourceContainerName=TEXT),
    minReplicaCount=NUMBER,
    maxReplicaCount=NUMBER,
    idleReplicaCount=NUMBER,
    pollingInterval=NUMBER,
    cooldownPeriod=NUMBER,
    initialCooldownPeriod=NUMBER,
    fallback=fields("failureThreshold", "replicas", failureThreshold=NUMBER, replicas=NUMBER, behavior=TEXT),
    advanced=fields(
        restoreToOriginalReplicaCount=YES,
        horizontalPodAutoscalerConfig=fields(
            name=TEXT, behavior=fields(scaleUp=SCALING_RULES, scaleDown=SCALING_RULES)
        ),
    ),
    triggers=each(TRIGGER),
)
SOURCE = fields(
    **dict.fromkeys(("principals", "notPrincipals", "requestPrincipals", "notRequestPrincipals"), TEXTS),
    **dict.fromkeys(("namespaces", "notNamespaces", "serviceAccounts", "ipBlocks", "notIpBlocks"), TEXTS),
    **dict.fromkeys(("remoteIpBlocks", "notRemoteIpBlocks"), TEXTS),
)
OPERATION = fields(
    **dict.fromkeys(("hosts", "notHosts", "ports", "notPorts", "methods", "notMethods", "paths", "notPaths"), TEXTS)
)
AUTHORIZATION = fields(
    selector=fields(matchLabels=LABELS),
    action=choice("ALLOW", "DENY", "AUDIT", "CUSTOM"),
    rules=each(
        fields(
            **{"from": each(fields(source=SOURCE))},
            to=each(fields(operation=OPERATION)),
            when=each(fields("key", key=TEXT, values=TEXTS, notValues=TEXTS)),
        )
    ),
)
JWT_RULE = fields(
    "issuer",
    issuer=TEXT,
    audiences=TEXTS,
    jwksUri=TEXT,
    jwks=TEXT,
    forwardOriginalToken=YES,
    fromHeaders=each(fields("name", name=TEXT, prefix=TEXT)),
    fromParams=TEXTS,
    outputPayloadToHeader=TEXT,
)
BACKEND = fields("name", group=TEXT, kind=TEXT, name=TEXT, namespace=TEXT, port=NUMBER, weight=NUMBER)
HEADER = fields("name", "value", type=choice("Exact", "RegularExpression"), name=TEXT, value=TEXT)
HEADERS = fields(**dict.fromkeys(("set", "add"), each(fields("name", "value", name=TEXT, value=TEXT))), remove=TEXTS)
ROUTE = fields(
    parentRefs=each(fields("name", group=TEXT, kind=TEXT, namespace=TEXT, name=TEXT, sectionName=TEXT, port=NUMBER)),
    hostnames=TEXTS,
    rules=each(
        fields(
            name=TEXT,
            matches=each(
                fields(
                    path=fields(type=choice("Exact", "PathPrefix", "RegularExpression"), value=TEXT),
                    headers=each(HEADER),
                    method=TEXT,
                )
            ),
            filters=each(
                fields(
                    "type",
                    type=TEXT,
                    requestHeaderModifier=HEADERS,
                    responseHeaderModifier=HEADERS,
                    requestMirror=fields("backendRef", backendRef=BACKEND, percent=NUMBER),
                    urlRewrite=fields(
                        hostname=TEXT, path=fields("type", type=TEXT, replaceFullPath=TEXT, replacePrefixMatch=TEXT)
                    ),
                )
            ),
            backendRefs=each(BACKEND),
            timeouts=fields(request=TIMEOUT, backendRequest=TIMEOUT),
            retry=fields(attempts=NUMBER),
        )
    ),
)
REFERENCE = fields(kind=TEXT, namespace=TEXT, name=TEXT, apiVersion=TEXT)

SCHEMAS: dict[tuple[str, str], Any] = {
    ("monitoring.coreos.com/v1", "PodMonitor"): kind(
        fields(
            "selector", **MONITOR, podMetricsEndpoints=each(fields(**SCRAPE, portNumber=NUMBER)), podTargetLabels=TEXTS
        )
    ),
    ("monitoring.coreos.com/v1", "ServiceMonitor"): kind(
        fields(
            "selector",
            "endpoints",
            **MONITOR,
            endpoints=each(fields(**SCRAPE)),
            targetLabels=TEXTS,
            podTargetLabels=TEXTS,
        )
    ),
    ("monitoring.coreos.com/v1", "PrometheusRule"): kind(
        fields(groups=each(fields("name", name=TEXT, interval=INTERVAL, labels=LABELS, rules=each(RULE))))
    ),
    ("keda.sh/v1alpha1", "ScaledObject"): kind(SCALED_OBJECT),
    ("security.istio.io/v1", "AuthorizationPolicy"): kind(AUTHORIZATION),
    ("security.istio.io/v1", "RequestAuthentication"): kind(
        fields(selector=fields(matchLabels=LABELS), jwtRules=each(JWT_RULE))
    ),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): kind(ROUTE),
    ("serving.knative.dev/v1beta1", "DomainMapping"): kind(
        fields("ref", ref=fields("kind", "name", **REFERENCE["properties"]), tls=fields("secretName", secretName=TEXT))
    ),
}
