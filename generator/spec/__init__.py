"""The spec of a serve, part by part."""

from generator.spec.serve import Canary, ServeSpec

__all__ = ["Canary", "ServeSpec"]
