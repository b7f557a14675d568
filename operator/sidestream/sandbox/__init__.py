"""Sandboxes: forks of Deployments and Services, their hand-offs, conditions, lifetime and orderly removal."""
