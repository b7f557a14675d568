"""The demo: the shop on a real cluster, a Sandbox in it, and requests that show who answered.

Its modules are also what the end-to-end tests and benchmarks drive a cluster with, so that what is shown is what is
tested.
"""
