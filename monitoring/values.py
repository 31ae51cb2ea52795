"""Values as specs and flags spell them: the names and labels that Kubernetes takes, and durations."""

from __future__ import annotations

import re
from typing import Any

DNS_1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"
"""A Service or a serve."""
DNS_1123 = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
"""A namespace."""
DNS_SUBDOMAIN = rf"{DNS_1123}(\.{DNS_1123})*"
LABEL_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
LABEL_KEY = rf"({DNS_SUBDOMAIN}/)?{LABEL_NAME}"
LABEL_VALUE = rf"({LABEL_NAME})?"
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(text: str) -> float:
    """The number of seconds that a duration stands for."""
    match = DURATION.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is not a duration: expected a number with ms, s, m, h or d, such as 500ms or 30s")
    return float(match[1]) * SECONDS[match[2]]


def duration_text(value: Any) -> Any:
    """A plain number is seconds."""
    return f"{value!s}s" if isinstance(value, (int, float)) and not isinstance(value, bool) else value
