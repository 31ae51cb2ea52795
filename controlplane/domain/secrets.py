"""References to secrets: the control plane stores where they are, and never what they say."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from controlplane.domain.bodies import Body


class SecretReference(Body):
    """A key of a secret, whose value the control plane never stores."""

    secret: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
    key: Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)]
