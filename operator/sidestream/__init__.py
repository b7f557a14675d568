"""Sidestream: many tenants test in one shared Kubernetes environment."""

__version__ = "0.1.0"
