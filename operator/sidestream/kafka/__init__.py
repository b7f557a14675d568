"""Consumer groups of tenants' forks: clusters, worker processes, the hand-off of records, and the status of it all."""
