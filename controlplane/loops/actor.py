"""Who the loops are, in events."""

from controlplane.store.events import Actor

ACTOR = Actor("controlplane", "loop")
