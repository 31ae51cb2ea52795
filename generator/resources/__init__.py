"""The Kubernetes resources that a plan becomes, a module for each concern."""
