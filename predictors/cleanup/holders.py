"""The pods that hold an entry of the cache: its recorded users, and pods whose spec names it."""

from __future__ import annotations

import re

from predictors.cleanup.pods import EVERYWHERE, NAMESPACE, Cluster, ClusterRefused, Pod
from predictors.storage.cache import Entry, User
from predictors.uris import kserve_spelling

MAX_HOST_NAME_LENGTH = 63


class Holders:
    """The cluster's pods, listed once for each namespace.

    It is created after the entries were read: a user without a pod has ended then, and did not start in between.
    """

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.listed = cluster.live_pods(namespace)
        self.everywhere = namespace == EVERYWHERE
        self.pods: dict[str, list[Pod] | ClusterRefused] = {} if self.everywhere else {namespace: self.listed}
        if self.everywhere:
            for name in {pod.namespace for pod in self.listed}:
                self.pods[name] = [pod for pod in self.listed if pod.namespace == name]

    def pods_in(self, namespace: str) -> list[Pod] | ClusterRefused:
        if namespace not in self.pods:
            try:
                self.pods[namespace] = [] if self.everywhere else self.cluster.live_pods(namespace)
            except ClusterRefused as error:
                self.pods[namespace] = error
        return self.pods[namespace]

    def reason_to_keep(self, entry: Entry) -> str | None:
        """Why the entry must stay; None if no pod holds it."""
        if live := sorted({str(pod) for user in entry.users if (pod := self.pod_of(user))}):
            return f"in use by pod {several(live)}"
        names = names_of(entry)
        if named := sorted(str(pod) for pod in self.listed if is_named(names, pod.text)):
            return f"named by pod {several(named)}"
        if refused := sorted({f"{user.namespace}/{user.pod}" for user in entry.users if self.is_hidden(user)}):
            return f"perhaps in use by pod {several(refused)}: no permission to list the pods of that namespace (403)"
        return None

    def gone(self, entry: Entry) -> list[User]:
        """The users whose pods no longer exist."""
        return [user for user in entry.users if not self.pod_of(user) and not self.is_hidden(user)]

    def is_hidden(self, user: User) -> bool:
        return is_pod(user) and isinstance(self.pods_in(user.namespace), ClusterRefused)

    def pod_of(self, user: User) -> Pod | None:
        pods = self.pods_in(user.namespace) if is_pod(user) else []
        return next((pod for pod in pods if is_same(user, pod)), None) if isinstance(pods, list) else None


def is_pod(user: User) -> bool:
    """Whether it names a pod; other files in the folder of users do not."""
    return bool(NAMESPACE.fullmatch(user.namespace) and user.pod)


def is_same(user: User, pod: Pod) -> bool:
    """Without a uid, the recorded name may be the pod's host name: its name cut to length, a name in its spec, or that
    of the node whose network it uses."""
    if user.uid:
        return user.uid == pod.uid
    cut = pod.name[:MAX_HOST_NAME_LENGTH].rstrip("-.")
    return user.pod in (pod.name, cut) or user.pod in pod.text.split("\n")


def names_of(entry: Entry) -> list[str]:
    """The names by which a spec can refer to the entry: its folder, and the spellings of its resolved URI."""
    names = [entry.key]
    if entry.provenance:
        uri = entry.provenance.resolved_uri
        names += [uri, kserve_spelling(uri) or uri]
    return names


def is_named(names: list[str], text: str) -> bool:
    """Whether the text has a name as a whole: models:/fraud/31 does not name models:/fraud/3."""
    return any(name in text and re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", text) for name in names)


def several(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
