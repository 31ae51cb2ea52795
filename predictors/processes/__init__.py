"""Processes that share ports and state: workers, forks, handover."""
