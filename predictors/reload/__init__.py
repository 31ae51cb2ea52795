"""Hot reload: following the registry and changing the served version."""
