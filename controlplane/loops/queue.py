"""The queue of keys that something may have happened to: each once, and never with two workers at a time."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")


class DelayQueue(Generic[K]):
    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.condition = threading.Condition()
        self.due: dict[K, float] = {}
        """When each waiting key is due; of several times the earliest counts."""
        self.heap: list[tuple[float, int, K]] = []
        self.order = 0
        self.busy: set[K] = set()
        self.closed = False

    def add(self, key: K, at: float = 0.0) -> None:
        """Makes a key due at a time; at once by default."""
        with self.condition:
            known = self.due.get(key)
            if known is not None and known <= at:
                return
            self.due[key] = at
            self.order += 1
            heapq.heappush(self.heap, (at, self.order, key))
            self.condition.notify()

    def get(self) -> K | None:
        """The next key, once it is due; None when the queue is closed. `done` must follow."""
        with self.condition:
            while not self.closed:
                key, wait = self.next()
                if key is not None:
                    self.busy.add(key)
                    return key
                self.condition.wait(wait)
            return None

    def next(self) -> tuple[K | None, float | None]:
        """A key that is due and not being worked on, or how long to wait for one."""
        held: list[tuple[float, int, K]] = []
        due_key: K | None = None
        wait: float | None = None
        while self.heap:
            at, order, key = self.heap[0]
            if self.due.get(key) != at:
                heapq.heappop(self.heap)  # an earlier time has replaced it
                continue
            if at > self.now():
                wait = at - self.now()
                break
            heapq.heappop(self.heap)
            if key in self.busy:
                held.append((at, order, key))
                continue
            del self.due[key]
            due_key = key
            break
        for entry in held:
            heapq.heappush(self.heap, entry)
        return due_key, wait

    def done(self, key: K) -> None:
        with self.condition:
            self.busy.discard(key)
            self.condition.notify()

    def close(self) -> None:
        with self.condition:
            self.closed = True
            self.condition.notify_all()

    def __len__(self) -> int:
        with self.condition:
            return len(self.due)
