"""Serves: what is deployed under one name, in any number of environments."""

from __future__ import annotations

from typing import Literal

from controlplane.domain.bodies import Body, ServeName, Text


class NewServe(Body):
    """The body that makes a serve."""

    name: ServeName
    type: Literal["api"] = "api"
    description: Text = ""
    space: Text = ""
    """the team, or whatever else serves are grouped by"""


class ServeChange(Body):
    """The body that changes a serve; a field that is absent is not changed."""

    description: Text | None = None
    space: Text | None = None
