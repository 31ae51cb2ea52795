"""Which pods hold an entry of the cache: those that it was given to, and those that name it."""

from __future__ import annotations

import re

from predictors.cleanup.pods import EVERYWHERE, NAMESPACE, Cluster, ClusterRefused, Pod
from predictors.storage.cache import Entry, User
from predictors.uris import kserve_spelling

MAX_HOST_NAME_LENGTH = 63


class Holders:
    """What the cluster says, asked once for each namespace. To be made after the entries were read: then a user that
    has no pod here is gone, and not one that came in between."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.known = cluster.live_pods(namespace)
        self.everywhere = namespace == EVERYWHERE
        self.pods: dict[str, list[Pod] | ClusterRefused] = {} if self.everywhere else {namespace: self.known}
        if self.everywhere:
            for there in {pod.namespace for pod in self.known}:
                self.pods[there] = [pod for pod in self.known if pod.namespace == there]

    def ask(self, namespace: str) -> list[Pod] | ClusterRefused:
        if namespace not in self.pods:
            try:
                self.pods[namespace] = [] if self.everywhere else self.cluster.live_pods(namespace)
            except ClusterRefused as error:
                self.pods[namespace] = error
        return self.pods[namespace]

    def of(self, entry: Entry) -> str | None:
        """Why the entry has to stay, if so."""
        if live := sorted({str(pod) for user in entry.users if (pod := self.pod_of(user))}):
            return f"in use by pod {several(live)}"
        names = names_of(entry)
        if named := sorted(str(pod) for pod in self.known if is_named(names, pod.words)):
            return f"named by pod {several(named)}"
        if refused := sorted({f"{user.namespace}/{user.pod}" for user in entry.users if self.is_hidden(user)}):
            return f"perhaps in use by pod {several(refused)}: the pods of that namespace are not ours to see (403)"
        return None

    def gone(self, entry: Entry) -> list[User]:
        """The users whose pods are no more."""
        return [user for user in entry.users if not self.pod_of(user) and not self.is_hidden(user)]

    def is_hidden(self, user: User) -> bool:
        return is_pod(user) and isinstance(self.ask(user.namespace), ClusterRefused)

    def pod_of(self, user: User) -> Pod | None:
        found = self.ask(user.namespace) if is_pod(user) else []
        return next((pod for pod in found if is_same(user, pod)), None) if isinstance(found, list) else None


def is_pod(user: User) -> bool:
    """What else lies among the files of the users names none."""
    return bool(NAMESPACE.fullmatch(user.namespace) and user.pod)


def is_same(user: User, pod: Pod) -> bool:
    """A pod that does not know its uid may know no more of its name than its host name: a part of it, what its spec
    says, or that of the node whose network it uses."""
    if user.uid:
        return user.uid == pod.uid
    cut = pod.name[:MAX_HOST_NAME_LENGTH].rstrip("-.")
    return user.pod in (pod.name, cut) or user.pod in pod.words.split("\n")


def names_of(entry: Entry) -> list[str]:
    """Its folder, under whatever path it is mounted, and the URI of exactly this model as it may be spelled."""
    names = [entry.key]
    if entry.manifest:
        uri = entry.manifest.resolved_uri
        names += [uri, kserve_spelling(uri) or uri]
    return names


def is_named(names: list[str], words: str) -> bool:
    """As a whole: models:/fraud/3 does not name models:/fraud/31."""
    return any(name in words and re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", words) for name in names)


def several(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
