"""A candidate: a second model in the same server. It answers a share of the requests, or is asked beside the model."""
