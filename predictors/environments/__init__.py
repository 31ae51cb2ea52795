"""Python environments of models: their requirements, and installing them."""
