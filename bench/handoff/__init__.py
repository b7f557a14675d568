"""The hand-off on a real Kafka: forks come and go, members are killed, and every record is accounted for."""
