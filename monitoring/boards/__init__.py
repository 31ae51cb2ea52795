"""The dashboards as code, for development: `python -m tools.dashboards` writes them to dashboards/."""
