"""Rollouts: canary, promotion, rollback, and the way back, as plans of steps.

`planner` makes a plan from a spec and from what the cluster has; `by_route`, `by_knative` and `by_kserve` know the ways
to split the traffic; `drive` carries a plan out.
"""
