"""What any controller needs and no domain knows: work queue, reconcile loop, leader, probes, metrics, logs, clock."""
