"""HTTP: connections, routes, responses and pages."""
