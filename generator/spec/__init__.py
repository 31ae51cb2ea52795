"""The spec of a serve, part by part."""

from generator.spec.canary import Canary
from generator.spec.serve import ServeSpec

__all__ = ["Canary", "ServeSpec"]
