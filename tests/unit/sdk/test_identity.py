from __future__ import annotations

import pytest

from sidestream_sdk.identity import Identity

FULL = {"SIDESTREAM_MAPPING_URL": "http://mapping:8080/", "SIDESTREAM_CONSUMER": "shop/fulfilment"}


def test_without_a_mapping_url_there_is_no_identity() -> None:
    assert Identity.from_env({}) is None
    assert Identity.from_env({**FULL, "SIDESTREAM_MAPPING_URL": " "}) is None


def test_the_baseline_has_no_sandbox() -> None:
    assert Identity.from_env(FULL) == Identity("http://mapping:8080/", "shop/fulfilment", None)
    assert Identity.from_env({**FULL, "SIDESTREAM_SANDBOX": ""}) == Identity("http://mapping:8080/", "shop/fulfilment")


def test_a_fork_has_one() -> None:
    identity = Identity.from_env({**FULL, "SIDESTREAM_SANDBOX": "alice"})

    assert identity is not None
    assert identity.sandbox == "alice"


def test_the_token_is_found_where_the_pod_says() -> None:
    identity = Identity.from_env({**FULL, "SIDESTREAM_TOKEN_FILE": "/var/run/secrets/sidestream/token"})

    assert identity is not None
    assert identity.token_file == "/var/run/secrets/sidestream/token"


def test_the_authorities_are_those_of_a_file_only_where_the_pod_names_one() -> None:
    named = Identity.from_env({**FULL, "SIDESTREAM_CA_FILE": "/etc/sidestream/ca.crt"})
    usual = Identity.from_env({**FULL, "SIDESTREAM_CA_FILE": ""})

    assert named is not None
    assert usual is not None
    assert (named.ca_file, usual.ca_file) == ("/etc/sidestream/ca.crt", None)


def test_the_mapping_is_asked_for_by_the_baselines_name() -> None:
    assert Identity("http://mapping:8080/", "shop/ful filment").url == (
        "http://mapping:8080/v1/consumers/shop/ful%20filment"
    )


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param({"SIDESTREAM_CONSUMER": ""}, "SIDESTREAM_CONSUMER", id="no consumer"),
        pytest.param({"SIDESTREAM_CONSUMER": "fulfilment"}, "SIDESTREAM_CONSUMER", id="no namespace"),
        pytest.param({"SIDESTREAM_CONSUMER": "a/b/c"}, "SIDESTREAM_CONSUMER", id="three parts"),
        pytest.param({"SIDESTREAM_CONSUMER": "/b/"}, "SIDESTREAM_CONSUMER", id="empty parts"),
        pytest.param({"SIDESTREAM_MAPPING_URL": "mapping:8080"}, "SIDESTREAM_MAPPING_URL", id="no scheme"),
        pytest.param({"SIDESTREAM_MAPPING_URL": "file:///etc/passwd"}, "SIDESTREAM_MAPPING_URL", id="a file"),
        pytest.param({"SIDESTREAM_MAPPING_URL": "http://"}, "SIDESTREAM_MAPPING_URL", id="no host"),
    ],
)
def test_a_half_set_environment_is_refused_by_the_variables_name(change: dict[str, str], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Identity.from_env({**FULL, **change})
