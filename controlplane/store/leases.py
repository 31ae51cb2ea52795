"""Leases: of several control planes one acts, and a stale one is fenced off by its token."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

import psutil
from sqlalchemy import Connection, insert, select, update

from controlplane.store import tables
from controlplane.store.database import writes

LEASE_SECONDS = 15.0


class FencedOff(Exception):
    """Another control plane holds the lease by now: whatever this one was about to note is not noted."""


@dataclass(frozen=True, slots=True)
class Lease:
    name: str
    holder: str
    token: int
    """Grows with each holder."""


def this_process() -> str:
    """Names this process, so that another on the same machine can tell when it has ended."""
    return f"{socket.gethostname()}/{os.getpid()}/{psutil.Process().create_time():.2f}"


def has_ended(holder: str) -> bool:
    """Whether the holder is a process of this machine that is gone."""
    host, _, rest = holder.rpartition("/")
    host, _, pid = host.rpartition("/")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        return f"{psutil.Process(int(pid)).create_time():.2f}" != rest
    except psutil.NoSuchProcess:
        return True


def acquire(tx: Connection, name: str, holder: str, now: float) -> Lease | None:
    """The lease, new or renewed; None while another holds it."""
    row = tx.execute(select(tables.lease).where(tables.lease.c.name == name).with_for_update()).one_or_none()
    until = now + LEASE_SECONDS
    if row is None:
        tx.execute(insert(tables.lease).values(name=name, holder=holder, token=1, expires_at=until))
        return Lease(name, holder, 1)
    if row.holder != holder and row.expires_at > now and not has_ended(row.holder):
        return None
    token = row.token if row.holder == holder and row.expires_at > now else row.token + 1
    values = {"holder": holder, "token": token, "expires_at": until}
    tx.execute(update(tables.lease).where(tables.lease.c.name == name).values(values))
    return Lease(name, holder, token)


def require(tx: Connection, lease: Lease) -> None:
    """Raises FencedOff unless the lease is still ours; in the same transaction as what it guards."""
    query = select(tables.lease.c.token).where(tables.lease.c.name == lease.name)
    token = tx.execute(query.with_for_update() if writes(tx) else query).scalar_one_or_none()
    if token != lease.token:
        raise FencedOff(f"another control plane acts: the token {lease.token} is no longer current")


def release(tx: Connection, lease: Lease) -> None:
    """Lets another acquire the lease at once."""
    condition = (tables.lease.c.name == lease.name) & (tables.lease.c.token == lease.token)
    tx.execute(update(tables.lease).where(condition).values(expires_at=0.0))
