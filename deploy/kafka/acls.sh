#!/bin/sh
# Gives estop's principals the rights that their roles need, and no others.
#
#   BOOTSTRAP=kafka:9092 deploy/kafka/acls.sh [option of kafka-acls.sh…]
#   e.g. … acls.sh --command-config admin.properties
#
# kafka-acls.sh comes with Apache Kafka and must be in PATH. Running this twice changes nothing.
set -eu

: "${BOOTSTRAP:=localhost:9092}"

# allow PRINCIPAL ARGUMENT… adds one rule.
allow() {
	principal=$1
	shift
	kafka-acls.sh --bootstrap-server "$BOOTSTRAP" $options --add --allow-principal "User:$principal" "$@"
}
options=$*

# Every role makes the topics that are missing when it starts.
for role in estop-detect estop-archive estop-acks estop-notify estop-audit; do
	allow "$role" --operation Create --topic estop. --resource-pattern-type prefixed
done

# detect judges calls, keeps what it learned, and writes what it found and which detectors changed.
allow estop-detect --operation Read --group estop-detect
allow estop-detect --operation Read --topic estop.calls --topic estop.exchange --topic estop.state --topic estop.changes \
	--topic estop.revocations
allow estop-detect --operation Write --topic estop.exchange --topic estop.state --topic estop.features \
	--topic estop.detections --topic estop.revocations --topic estop.decisions --topic estop.changes --topic estop.calls.dlq
# Drills on a schedule begin with a marked call (revoke.drill). Without drills this right is not needed.
allow estop-detect --operation Write --topic estop.calls

# archive reads what goes to ClickHouse, and writes what ClickHouse refuses.
allow estop-archive --operation Read --group estop-archive
allow estop-archive --operation Read --topic estop.calls --topic estop.features --topic estop.detections \
	--topic estop.revocations --topic estop.decisions --topic estop.acks --topic estop.guards --topic estop.changes --topic estop.calls.dlq
allow estop-archive --operation Write --topic estop.calls.dlq

# acks writes down the acknowledgements of guards, which guards there are, and what they did not confirm.
allow estop-acks --operation Read --topic estop.guards
allow estop-acks --operation Write --topic estop.acks --topic estop.guards --topic estop.decisions

# notify reads what it tells, with a group for each sink, and writes down what a sink did not take.
allow estop-notify --operation Read --group estop-notify- --resource-pattern-type prefixed
allow estop-notify --operation Read --topic estop.detections --topic estop.revocations --topic estop.decisions
allow estop-notify --operation Write --topic estop.notify.dlq

# audit reads what its log proves, and says how far it is. It writes nothing but its log.
allow estop-audit --operation Read --group estop-audit
allow estop-audit --operation Read --topic estop.calls --topic estop.detections --topic estop.revocations --topic estop.decisions \
	--topic estop.acks --topic estop.changes

# People: 'estop kill', 'estop release' and 'estop queue' write down what they do; 'estop status' looks.
allow estop-operator --operation Write --topic estop.revocations --topic estop.decisions
allow estop-operator --operation Describe --topic estop. --resource-pattern-type prefixed
allow estop-operator --operation Describe --group estop- --resource-pattern-type prefixed
# 'estop drill --calls' begins with a marked call.
allow estop-operator --operation Write --topic estop.calls
# 'estop notify replay' sends dead letters again.
allow estop-operator --operation Read --topic estop.notify.dlq
allow estop-operator --operation Read --group estop-notify- --resource-pattern-type prefixed

# Whatever sends calls can send calls, and nothing else: no detection, no revocation.
allow estop-ingest --operation Write --topic estop.calls
