"""What the predictor's metrics are good for: dashboards, rules, alerts and scrape configs, all from one catalogue."""
