#!/bin/sh
# Starts one Kafka node, broker and KRaft controller in one. POD_NAME (kafka-N), BROKERS, HOST_PORT and CLUSTER_ID come from
# the StatefulSet; the jars lie in /opt/kafka/libs in every Kafka image that the lab uses.
set -eu

node_id=${POD_NAME##*-}
nodes=kafka-nodes.kafka.svc.cluster.local
config=$(mktemp)

# A single node must not wait for its own name to appear in the cluster's DNS.
voters=0@localhost:9093
if [ "$BROKERS" -gt 1 ]; then
    voters=
    ordinal=0
    while [ "$ordinal" -lt "$BROKERS" ]; do
        voters=$voters${voters:+,}$ordinal@kafka-$ordinal.$nodes:9093
        ordinal=$((ordinal + 1))
    done
fi

cat > "$config" <<END
process.roles=broker,controller
node.id=$node_id
controller.quorum.voters=$voters
controller.listener.names=CONTROLLER
listeners=CLUSTER://:9092,CONTROLLER://:9093,HOST://:9094
advertised.listeners=CLUSTER://$POD_NAME.$nodes:9092,HOST://127.0.0.1:$((HOST_PORT + node_id))
listener.security.protocol.map=CLUSTER:PLAINTEXT,CONTROLLER:PLAINTEXT,HOST:PLAINTEXT
inter.broker.listener.name=CLUSTER
log.dirs=/var/lib/kafka
auto.create.topics.enable=false
default.replication.factor=$BROKERS
group.initial.rebalance.delay.ms=0
offsets.topic.num.partitions=4
offsets.topic.replication.factor=$BROKERS
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=$BROKERS
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=4
share.coordinator.state.topic.replication.factor=$BROKERS
share.coordinator.state.topic.min.isr=1
END

if [ ! -e /var/lib/kafka/meta.properties ]; then
    java -XX:TieredStopAtLevel=1 -cp '/opt/kafka/libs/*' kafka.tools.StorageTool \
        format --cluster-id "$CLUSTER_ID" --config "$config"
fi
# shellcheck disable=SC2086 # JVM_OPTIONS holds several options
exec java ${JVM_OPTIONS:-} -cp '/opt/kafka/libs/*' kafka.Kafka "$config"
