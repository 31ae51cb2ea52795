"""Dashboards, rules, alerts and scrape configs, all from one catalogue of the predictor's metrics."""
