"""Serves as InferenceServices of a cluster. Nothing else of the control plane knows Kubernetes."""
