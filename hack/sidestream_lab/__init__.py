"""The lab: a real cluster, mesh and Kafka on one machine, for the demo, the tests and the benchmarks."""
