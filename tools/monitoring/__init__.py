"""A look at the monitoring with everything real: servers, traffic, Prometheus; used by the demo and by tests."""
