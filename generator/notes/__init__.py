"""Notes about a spec: what the reader should know beside the manifests."""
