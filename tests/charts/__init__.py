"""The charts: what Helm makes of them."""
