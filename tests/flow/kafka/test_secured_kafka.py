"""Logins, TLS and ACLs of a real broker: what the operator says when one is wrong, and that mending it is enough."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from authority import Authority
from builders import having, kafka_cluster, thing
from fakes.kube import FakeKubeApi
from flow.kafka.cluster import RealArena, connect, eventually, real_arena
from flow.kafka.secured import PLAIN_LOGIN, PLAIN_USER, Properties, Right, SecuredKafka, oidc, over_tls, sasl
from flow.kafka.tokens import CLIENT
from sidestream.api.conditions import Reason
from sidestream.errors import KafkaError, SidestreamError
from sidestream.kafka.client import WorkerAdmin
from sidestream.kafka.clusters import KafkaClusters
from sidestream.kafka.port import KafkaAdmin, Position, Scanned, TopicPartition
from sidestream.kafka.reconcile_cluster import KafkaClusterReconciler
from sidestream.kafka.translation import reason_of
from sidestream.kube.events import EventRecorder
from sidestream.kube.port import KAFKA_CLUSTERS, SECRETS
from sidestream.runtime.clock import SystemClock
from sidestream.runtime.reconcile import ObjectKey
from sidestream_sdk.baggage import HeaderRules

NAMESPACE = "sidestream-system"
REJECTED = "KafkaCluster main rejects the operator's credentials: check sasl.* in its properties and Secrets"
NO_TLS = "the TLS handshake fails, see security.protocol and the ssl.* properties"


class Operator:
    """The operator's view of one KafkaCluster, whose properties all come from a Secret."""

    def __init__(self) -> None:
        self.api, clock = FakeKubeApi(), SystemClock()
        self.clusters = KafkaClusters(self.api, NAMESPACE)
        self._reconciler = KafkaClusterReconciler(self.api, EventRecorder(self.api, clock), clock, self.clusters)

    def declare(self, bootstrap: str, properties: Properties) -> None:
        """The KafkaCluster and its Secret, new or changed."""
        data = {key: base64.b64encode(value.encode()).decode() for key, value in properties.items()}
        self.api.seed(thing(SECRETS, "kafka", {"data": data}, having("metadata.namespace", NAMESPACE)))
        if self.api.live(KAFKA_CLUSTERS, "main") is None:
            servers = having("spec.bootstrapServers", [bootstrap])
            self.api.seed(kafka_cluster("main", servers, having("spec.propertiesFrom", [{"secret": "kafka"}])))

    async def reachable(self) -> tuple[str, str, str]:
        """What the condition says after another look."""
        await self._reconciler.reconcile(ObjectKey("", "main"))
        live = self.api.live(KAFKA_CLUSTERS, "main")
        assert live is not None
        (condition,) = live["status"]["conditions"]
        return condition["status"], condition["reason"], condition["message"]


@asynccontextmanager
async def operator(bootstrap: str, properties: Properties) -> AsyncIterator[Operator]:
    made = Operator()
    made.declare(bootstrap, properties)
    async with made.clusters:
        yield made


UNSECURED_TOKEN = {
    "security.protocol": "SASL_PLAINTEXT",
    "sasl.mechanism": "OAUTHBEARER",
    "enable.sasl.oauthbearer.unsecure.jwt": "true",
    "sasl.oauthbearer.config": "principal=unsecured",
}


class TestLogin:
    """Each way to log in works, and a wrong secret is told as such."""

    @pytest.mark.parametrize("properties", [PLAIN_LOGIN, UNSECURED_TOKEN], ids=["a plain password", "a token"])
    async def test_works(self, secured: SecuredKafka, properties: Properties) -> None:
        async with operator(secured.plain, properties) as it:
            assert (await it.reachable())[:2] == ("True", "Reachable")

    async def test_works_by_scram_with_and_without_tls(self, secured: SecuredKafka) -> None:
        await secured.set_password("scram", "one")
        properties = sasl("SCRAM-SHA-256", "scram", "one")
        for bootstrap, given in ((secured.plain, properties), (secured.tls, over_tls(properties, secured.authority))):
            async with operator(bootstrap, given) as it:
                assert (await it.reachable())[:2] == ("True", "Reachable")

    async def test_works_by_a_token_of_an_identity_provider_in_every_client(
        self, secured: SecuredKafka, endpoint: str
    ) -> None:
        async with real_arena(secured.admin) as arena, operator(secured.plain, oidc(endpoint)) as it:
            assert (await it.reachable())[:2] == ("True", "Reachable")
            topic = await arena.topic(records=1)
            await secured.grant(CLIENT, Right("Read", "topic", topic))
            admin, place = await it.clusters.admin("main"), TopicPartition(topic, 0)
            await eventually(
                lambda: _is_allowed(lambda: admin.scan({place: (0, 1)}, HeaderRules(), ["a"])), "the topic is read"
            )

    async def test_works_by_a_client_certificate(self, secured: SecuredKafka) -> None:
        own = secured.authority.issue("operator")
        properties = {
            "security.protocol": "SSL",
            "ssl.ca.pem": secured.authority.file.read_text(),
            "ssl.certificate.pem": own.certificate.read_text(),
            "ssl.key.pem": own.key.read_text(),
        }
        async with operator(secured.mtls, properties) as it:
            assert (await it.reachable())[:2] == ("True", "Reachable")

    @pytest.mark.parametrize(
        "properties",
        [
            pytest.param(sasl("PLAIN", "plain", "wrong"), id="a wrong password"),
            pytest.param(sasl("PLAIN", "nobody", "plain-secret"), id="an unknown user"),
            pytest.param(sasl("SCRAM-SHA-256", "nobody", "x"), id="an unknown SCRAM user"),
            pytest.param(sasl("SCRAM-SHA-512", "plain", "plain-secret"), id="a mechanism that the broker has not"),
        ],
    )
    async def test_that_is_refused_is_told_as_wrong_credentials(
        self, secured: SecuredKafka, properties: Properties
    ) -> None:
        async with operator(secured.plain, properties) as it:
            assert await it.reachable() == ("False", "Unauthorized", REJECTED)

    async def test_that_the_identity_provider_refuses_is_told_as_wrong_credentials(
        self, secured: SecuredKafka, endpoint: str
    ) -> None:
        async with operator(secured.plain, oidc(endpoint, "wrong")) as it:
            assert await it.reachable() == ("False", "Unauthorized", REJECTED)
            it.declare(secured.plain, oidc(endpoint))
            assert (await it.reachable())[:2] == ("True", "Reachable")

    async def test_follows_a_secret_that_is_rotated(self, secured: SecuredKafka) -> None:
        await secured.set_password("rotated", "one")
        async with operator(secured.plain, sasl("SCRAM-SHA-256", "rotated", "one")) as it:
            assert (await it.reachable())[0] == "True"
            await secured.set_password("rotated", "two")
            it.declare(secured.plain, sasl("SCRAM-SHA-256", "rotated", "mistyped"))
            assert await it.reachable() == ("False", "Unauthorized", REJECTED)
            it.declare(secured.plain, sasl("SCRAM-SHA-256", "rotated", "two"))
            assert (await it.reachable())[:2] == ("True", "Reachable")


class TestTls:
    """A handshake that fails is told from a broker that is away."""

    async def test_with_another_authority(
        self, secured: SecuredKafka, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        stranger = Authority.make(tmp_path_factory.mktemp("stranger"))
        await secured.set_password("scram", "one")
        properties = sasl("SCRAM-SHA-256", "scram", "one")
        async with operator(secured.tls, over_tls(properties, stranger)) as it:
            assert await it.reachable() == (
                *("False", "ClusterUnreachable"),
                f"KafkaCluster main does not answer at {secured.tls}: {NO_TLS}",
            )
            it.declare(secured.tls, over_tls(properties, secured.authority))
            assert (await it.reachable())[:2] == ("True", "Reachable")

    async def test_without_the_certificate_that_the_broker_asks_for(self, secured: SecuredKafka) -> None:
        properties = {"security.protocol": "SSL", "ssl.ca.pem": secured.authority.file.read_text()}
        async with operator(secured.mtls, properties) as it:
            assert await it.reachable() == (
                *("False", "ClusterUnreachable"),
                f"KafkaCluster main does not answer at {secured.mtls}: {NO_TLS}",
            )


@dataclass(frozen=True)
class Place:
    """What the calls of the table are about: one partition with a record, and a group that may be there or not."""

    item: TopicPartition
    group: str

    def right(self, operation: str, kind: str) -> Right:
        return Right(operation, kind, self.group if kind == "group" else self.item.topic)


Call = Callable[[KafkaAdmin, Place], Awaitable[object]]
Rights = tuple[tuple[str, str], ...]

CALLS: tuple[tuple[str, Rights, Call], ...] = (
    ("describe topic {topic}", (("Describe", "topic"),), lambda admin, at: admin.topics([at.item.topic])),
    ("tell the offsets of topic {topic}", (("Describe", "topic"),), lambda admin, at: admin.earliest([at.item])),
    ("describe consumer group {group}", (("Describe", "group"),), lambda admin, at: admin.group(at.group)),
    (
        "read the offsets of consumer group {group}",
        (("Describe", "group"), ("Describe", "topic")),
        lambda admin, at: admin.committed(at.group, [at.item]),
    ),
    (
        "place consumer group {group}",
        (("Read", "group"), ("Read", "topic")),
        lambda admin, at: admin.place(at.group, {at.item: Position(1)}),
    ),
    (
        "read topic {topic}",
        (("Read", "topic"),),
        lambda admin, at: admin.scan({at.item: (0, 1)}, HeaderRules(), ["a"]),
    ),
    ("delete consumer group {group}", (("Delete", "group"),), lambda admin, at: admin.delete_group(at.group)),
)


async def attempt(call: Callable[[], Awaitable[object]]) -> SidestreamError | None:
    try:
        await call()
    except SidestreamError as error:
        return error
    return None


class TestRight:
    """Of what each call needs one right is missing: it is named, and granting it is enough."""

    @pytest.mark.parametrize(
        ("doing", "needed", "call", "missing"),
        [
            pytest.param(doing, needed, call, missing, id=f"{doing.split(' {')[0]} without {' '.join(missing)}")
            for doing, needed, call in CALLS
            for missing in needed
        ],
    )
    async def test_is_named_when_it_is_missing_and_enough_when_it_is_granted(
        self, secured: SecuredKafka, doing: str, needed: Rights, call: Call, missing: tuple[str, str]
    ) -> None:
        async with kept_out(secured) as (arena, admin):
            at = Place(TopicPartition(await arena.topic(records=1), 0), arena.name("group"))
            await arena.admin.place(at.group, {at.item: Position(0)})
            await secured.grant(PLAIN_USER, *(at.right(*right) for right in needed if right != missing))
            operation, kind = missing
            wanted = (
                f"KafkaCluster main refuses to {doing.format(topic=at.item.topic, group=at.group)} "
                f"({kind.upper()}_AUTHORIZATION_FAILED): the operator's Kafka user needs {operation} on {kind} "
                f"{at.right(operation, kind).name}"
            )

            async def is_refused() -> bool:
                error = await attempt(lambda: call(admin, at))
                return isinstance(error, KafkaError) and (str(error), reason_of(error)) == (wanted, Reason.UNAUTHORIZED)

            await eventually(is_refused, wanted, seconds=5.0)
            await secured.grant(PLAIN_USER, at.right(operation, kind))
            await eventually(lambda: _is_allowed(lambda: call(admin, at)), "it is done", seconds=5.0)

    async def test_to_describe_is_not_enough_to_place_or_to_read(self, secured: SecuredKafka) -> None:
        async with kept_out(secured) as (arena, admin):
            at = Place(TopicPartition(await arena.topic(records=1), 0), arena.name("group"))
            await secured.grant(PLAIN_USER, at.right("Describe", "group"), at.right("Describe", "topic"))
            await eventually(lambda: _is_allowed(lambda: admin.committed(at.group, [at.item])), "both are described")
            with pytest.raises(KafkaError, match=f"needs Read on group {at.group}$"):
                await admin.place(at.group, {at.item: Position(1)})
            with pytest.raises(KafkaError, match=f"needs Read on topic {at.item.topic}$"):
                await admin.scan({at.item: (0, 1)}, HeaderRules(), ["a"])

    async def test_is_named_also_where_other_topics_may_be_described(self, secured: SecuredKafka) -> None:
        async with kept_out(secured) as (arena, admin):
            allowed, denied = [TopicPartition(await arena.topic(records=1), 0) for _ in range(2)]
            await secured.grant(PLAIN_USER, Right("Read", "topic", allowed.topic))
            await eventually(lambda: _is_allowed(lambda: admin.latest([allowed])), "one may be described")
            with pytest.raises(KafkaError, match=r"needs Describe on topics test-topic-\w+, test-topic-\w+$"):
                await admin.latest([allowed, denied])
            assert await admin.scan({allowed: (0, 1)}, HeaderRules(), ["a"]) == {allowed: Scanned(1, found=False)}

    @pytest.mark.parametrize(
        "right",
        [
            pytest.param(Right("Describe", "cluster", "kafka-cluster"), id="all by the cluster"),
            pytest.param(Right("Describe", "group", "test-group-", is_prefix=True), id="some by a prefix"),
        ],
    )
    async def test_to_describe_says_which_groups_are_listed(self, secured: SecuredKafka, right: Right) -> None:
        async with kept_out(secured) as (arena, admin):
            item, group = TopicPartition(await arena.topic(), 0), arena.name("group")
            await arena.admin.place(group, {item: Position(0)})
            assert await admin.group_names() == frozenset(), "the broker leaves out what may not be described"
            await secured.grant(PLAIN_USER, right)

            async def is_listed() -> bool:
                return group in await admin.group_names()

            await eventually(is_listed, "the group is listed", seconds=5.0)

    async def test_is_not_needed_to_see_that_the_cluster_answers(self, secured: SecuredKafka) -> None:
        async with kept_out(secured) as (_, admin):
            assert (await admin.cluster()).brokers == 1


async def _is_allowed(call: Callable[[], Awaitable[object]]) -> bool:
    return await attempt(call) is None


@asynccontextmanager
async def kept_out(secured: SecuredKafka) -> AsyncIterator[tuple[RealArena, WorkerAdmin]]:
    """The operator's client, which may do nothing yet, and an arena that may do everything."""
    await secured.revoke_all()
    admin = connect(secured.plain, **PLAIN_LOGIN)
    try:
        async with real_arena(secured.admin) as arena:
            yield arena, admin
    finally:
        await admin.aclose()
