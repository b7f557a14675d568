from __future__ import annotations

import pytest

from sidestream.api.conditions import Reason
from sidestream.errors import GroupBusyError, KafkaError, KafkaUnavailableError, SidestreamError
from sidestream.kafka.translation import (
    Cause,
    Deed,
    Endpoint,
    Failure,
    cause_of,
    is_unanswered,
    reason_of,
    refused_config,
    translate,
)

ENDPOINT = Endpoint("main", "a:9092,b:9092")
DEED = Deed("place consumer group g", "Read", "g", ("t", "u"))


@pytest.mark.parametrize(
    ("code", "error", "reason"),
    [
        pytest.param("_TIMED_OUT", KafkaUnavailableError, None, id="-185"),
        pytest.param("_TRANSPORT", KafkaUnavailableError, None, id="-195"),
        pytest.param("_ALL_BROKERS_DOWN", KafkaUnavailableError, None, id="-187"),
        pytest.param("_WAIT_COORD", KafkaUnavailableError, None, id="-180"),
        pytest.param("UNKNOWN_TOPIC_OR_PART", KafkaUnavailableError, None, id="3"),
        pytest.param("LEADER_NOT_AVAILABLE", KafkaUnavailableError, None, id="5"),
        pytest.param("NOT_LEADER_FOR_PARTITION", KafkaUnavailableError, None, id="6"),
        pytest.param("REQUEST_TIMED_OUT", KafkaUnavailableError, None, id="7"),
        pytest.param("COORDINATOR_LOAD_IN_PROGRESS", KafkaUnavailableError, None, id="14"),
        pytest.param("COORDINATOR_NOT_AVAILABLE", KafkaUnavailableError, None, id="15"),
        pytest.param("NOT_COORDINATOR", KafkaUnavailableError, None, id="16"),
        pytest.param("REBALANCE_IN_PROGRESS", KafkaUnavailableError, None, id="27"),
        pytest.param("UNSTABLE_OFFSET_COMMIT", KafkaUnavailableError, None, id="88"),
        pytest.param("OFFSET_MISSING", KafkaUnavailableError, None, id="a negative offset"),
        pytest.param("NOT_KEPT", KafkaUnavailableError, None, id="another offset than was committed"),
        pytest.param("OVERTAKEN", GroupBusyError, None, id="a commit since we looked"),
        pytest.param("UNKNOWN_MEMBER_ID", GroupBusyError, None, id="25"),
        pytest.param("NON_EMPTY_GROUP", GroupBusyError, None, id="68"),
        pytest.param("TOPIC_AUTHORIZATION_FAILED", KafkaError, Reason.UNAUTHORIZED, id="29"),
        pytest.param("GROUP_AUTHORIZATION_FAILED", KafkaError, Reason.UNAUTHORIZED, id="30"),
        pytest.param("CLUSTER_AUTHORIZATION_FAILED", KafkaError, Reason.UNAUTHORIZED, id="31"),
        pytest.param("SASL_AUTHENTICATION_FAILED", KafkaError, Reason.UNAUTHORIZED, id="58"),
        pytest.param("INVALID_GROUP_ID", KafkaError, Reason.GROUP_NAME_INVALID, id="24"),
        pytest.param("TOPIC_EXCEPTION", KafkaError, Reason.TOPIC_NOT_FOUND, id="17"),
        pytest.param("OFFSET_METADATA_TOO_LARGE", KafkaError, Reason.CLUSTER_INVALID, id="12"),
        pytest.param("UNSUPPORTED_VERSION", KafkaError, Reason.CLUSTER_INVALID, id="35"),
        pytest.param("A_CODE_OF_NEXT_YEAR", KafkaError, Reason.CLUSTER_INVALID, id="a code we do not know"),
    ],
)
def test_each_code_is_either_passing_or_waited_for_or_the_users(
    code: str, error: type[SidestreamError], reason: Reason | None
) -> None:
    raised = translate(Failure(code, "Broker: no"), ENDPOINT, DEED)
    assert type(raised) is error
    if isinstance(raised, KafkaError):
        assert reason_of(raised) is reason
    assert str(raised).startswith(("KafkaCluster main ", "Consumer group g on KafkaCluster main "))


@pytest.mark.parametrize(
    ("code", "right"),
    [
        ("GROUP_AUTHORIZATION_FAILED", "Read on group g"),
        ("TOPIC_AUTHORIZATION_FAILED", "Read on topics t, u"),
        ("CLUSTER_AUTHORIZATION_FAILED", "Read on the cluster"),
    ],
)
def test_a_refusal_names_what_was_tried_the_code_and_the_right_that_is_missing(code: str, right: str) -> None:
    raised = translate(Failure(code, "Broker: no"), ENDPOINT, DEED)
    assert str(raised) == (
        f"KafkaCluster main refuses to place consumer group g ({code}): the operator's Kafka user needs {right}"
    )


def test_topics_that_only_the_group_knows_are_called_its_own() -> None:
    deed = Deed("describe consumer group g", "Describe", "g")
    assert str(translate(Failure("TOPIC_AUTHORIZATION_FAILED"), ENDPOINT, deed)).endswith(
        "needs Describe on its topics"
    )


def test_a_group_that_has_moved_on_is_not_said_to_have_members() -> None:
    raised = translate(Failure("OVERTAKEN"), ENDPOINT, DEED)
    assert str(raised) == "Consumer group g on KafkaCluster main has had members meanwhile: its offsets changed"


def test_metadata_that_is_too_long_is_told_with_the_setting_that_limits_it() -> None:
    raised = translate(Failure("OFFSET_METADATA_TOO_LARGE", "Broker: no"), ENDPOINT, DEED)
    assert str(raised) == (
        "KafkaCluster main refuses to place consumer group g: the metadata beside an offset is too long "
        "for its brokers' offset.metadata.max.bytes (OFFSET_METADATA_TOO_LARGE)"
    )


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (Cause.CONNECT, "does not answer at a:9092,b:9092: no connection to any broker"),
        (Cause.RESOLVE, "does not answer at a:9092,b:9092: a host name cannot be resolved"),
        (Cause.TLS, "does not answer at a:9092,b:9092: the TLS handshake fails"),
        (Cause.UNKNOWN, "does not answer at a:9092,b:9092"),
    ],
)
def test_silence_is_explained_as_far_as_it_is_known(cause: Cause, words: str) -> None:
    failure = Failure("_TIMED_OUT", "Local: Timed out (after 3000ms)", cause)
    assert words in str(translate(failure, ENDPOINT, DEED))
    assert "3000ms" not in str(translate(failure, ENDPOINT, DEED)), "a message is the same from run to run"
    assert is_unanswered(failure)


def test_a_broker_that_hangs_up_on_a_wrong_password_is_no_outage() -> None:
    raised = translate(Failure("_TIMED_OUT", "Local: Timed out", Cause.AUTHENTICATION), ENDPOINT, DEED)
    assert isinstance(raised, KafkaError)
    assert reason_of(raised) is Reason.UNAUTHORIZED


@pytest.mark.parametrize("code", ["NOT_COORDINATOR", "GROUP_AUTHORIZATION_FAILED", "NON_EMPTY_GROUP"])
def test_an_answer_is_an_answer_even_when_it_is_no(code: str) -> None:
    assert not is_unanswered(Failure(code))


@pytest.mark.parametrize(
    ("errors", "cause"),
    [
        pytest.param([], Cause.UNKNOWN, id="nothing noticed"),
        pytest.param([("_ALL_BROKERS_DOWN", "1/1 brokers are down")], Cause.UNKNOWN, id="only the sum of it"),
        pytest.param([("_TRANSPORT", "Connect to ipv4#10.0.0.1 failed")], Cause.CONNECT, id="a refused connection"),
        pytest.param([("_TRANSPORT", "SSL handshake failed: Disconnected")], Cause.TLS, id="a broker without tls"),
        pytest.param([("_SSL", "certificate verify failed")], Cause.TLS, id="a bad certificate"),
        pytest.param([("_RESOLVE", "x"), ("_TRANSPORT", "Connect")], Cause.RESOLVE, id="the more telling of two"),
        pytest.param([("_TRANSPORT", "Connect"), ("_AUTHENTICATION", "x")], Cause.AUTHENTICATION, id="a password"),
    ],
)
def test_the_most_telling_cause_is_kept(errors: list[tuple[str, str]], cause: Cause) -> None:
    assert cause_of(errors) is cause


def test_bad_properties_are_the_users_to_mend() -> None:
    raised = refused_config('No such configuration property: "bogus"', ENDPOINT)
    assert str(raised) == 'KafkaCluster main has bad properties: No such configuration property: "bogus"'
    assert reason_of(raised) is Reason.CLUSTER_INVALID


def test_a_failure_goes_through_the_pipe_and_comes_out_the_same() -> None:
    failure = Failure("_TIMED_OUT", "Local: Timed out", Cause.RESOLVE)
    assert Failure.from_json(failure.to_json()) == failure
    assert Failure.from_json({"name": "X"}) == Failure("X")
