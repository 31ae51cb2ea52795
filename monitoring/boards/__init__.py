"""The dashboards as code, for development: `python -m tools.dashboards` writes what they make to dashboards/."""
