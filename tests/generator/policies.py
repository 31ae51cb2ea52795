"""What a NetworkPolicy lets through, as a network plugin reads it."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any


def lets(policy: dict[str, Any], direction: str, peer: str, port: int, protocol: str = "TCP", **labels: str) -> bool:
    """Whether a connection from or to a namespace's pods, or an address, passes."""
    rules = policy["spec"]["ingress" if direction == "from" else "egress"]
    return any(
        any(is_meant(one, peer, labels) for one in rule[direction])
        and (
            "ports" not in rule or any(open["port"] == port and open["protocol"] == protocol for open in rule["ports"])
        )
        for rule in rules
    )


def is_meant(rule: dict[str, Any], peer: str, labels: dict[str, str]) -> bool:
    if "ipBlock" in rule:
        return peer[0].isdigit() and ip_address(peer) in ip_network(rule["ipBlock"]["cidr"])
    wanted = rule.get("podSelector", {}).get("matchLabels", {})
    named: bool = rule["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": peer}
    return named and wanted.items() <= labels.items()
