"""Tenant routes over HTTP: one rendered set of rules per baseline Service, proven in the proxies.

`table` holds the model and the clone algorithm, `providers` one mesh each, `observe`, `plan`, `results` and `reconcile`
the level-based loop per Service, `proof` and `prober_app` the question to the proxies, `wakeups` the way from events to
keys.
"""
