"""Callers and their roles, per environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from controlplane.domain.problems import ApiProblem

Role = Literal["viewer", "deployer", "approver", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
EVERYWHERE = "*"


@dataclass(frozen=True, slots=True)
class ApiCaller:
    name: str
    roles: Mapping[str, str]
    """A role by the name of an environment; `*` stands for all."""

    def may(self, role: Role, env: str | None = None) -> bool:
        """Whether the caller has the role, or a higher one, in the environment; everywhere, if none is named."""
        held = [self.roles[place] for place in (EVERYWHERE, env) if place is not None and place in self.roles]
        return any(held_role in ROLES[ROLES.index(role) :] for held_role in held)

    def may_somewhere(self, role: Role) -> bool:
        return any(self.may(role, env) for env in self.roles)

    def require(self, role: Role, env: str | None = None) -> None:
        """Raises ApiProblem (403)."""
        if not self.may(role, env):
            place = f"in environment '{env}'" if env else "in all environments"
            raise ApiProblem(
                403,
                f"{self.name} is not {role} {place}",
                way_out="ask an administrator for a token with this role",
            )

    def require_somewhere(self, role: Role) -> None:
        """Raises ApiProblem (403) unless the caller has the role in some environment."""
        if not self.may_somewhere(role):
            raise ApiProblem(
                403,
                f"{self.name} is {role} in no environment",
                way_out="ask an administrator for a token with this role",
            )


ANYBODY = ApiCaller("anybody on this machine", {EVERYWHERE: "admin"})
