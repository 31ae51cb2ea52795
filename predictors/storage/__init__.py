"""From a model URI to a folder on disk: registry, downloads, cache."""
