"""Who this process is to Sidestream, as the environment of its pod says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import quote, urlsplit

ENV_MAPPING_URL: Final = "SIDESTREAM_MAPPING_URL"
ENV_CONSUMER: Final = "SIDESTREAM_CONSUMER"
ENV_SANDBOX: Final = "SIDESTREAM_SANDBOX"
ENV_TOKEN_FILE: Final = "SIDESTREAM_TOKEN_FILE"  # noqa: S105 - a variable's name
ENV_CA_FILE: Final = "SIDESTREAM_CA_FILE"


@dataclass(frozen=True)
class Identity:
    """One workload's consumer.

    `mapping_url` is the mapping service's base URL; `consumer` is `namespace/deployment` of the *baseline*, in its
    forks too; `sandbox` is the Sandbox's name in a fork and None in the baseline; `token_file` holds the ServiceAccount
    token to show, None where the mapping service asks for none; `ca_file` holds the certificates of the authorities
    that vouch for the mapping service, None where those of the system do.

    Raises:
        ValueError: the URL is not http(s), or `consumer` is not of two parts; the text is a sentence for users.
    """

    mapping_url: str
    consumer: str
    sandbox: str | None = None
    token_file: str | None = None
    ca_file: str | None = None

    def __post_init__(self) -> None:
        """Refuse what no request could be made of."""
        url = urlsplit(self.mapping_url)
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise ValueError(f"{ENV_MAPPING_URL} must be a URL like http://host:8080, not {self.mapping_url!r}")
        if len([part for part in self.consumer.split("/") if part]) != len(("namespace", "deployment")):
            raise ValueError(
                f"{ENV_CONSUMER} must be namespace/deployment of the baseline, such as shop/fulfilment, "
                f"not {self.consumer!r}"
            )

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self | None:
        """The identity that the variables of `env` give, or None without a mapping URL: not under Sidestream.

        Raises:
            ValueError: as the class says.
        """
        url = env.get(ENV_MAPPING_URL, "").strip()
        if not url:
            return None
        return cls(
            url,
            env.get(ENV_CONSUMER, "").strip(),
            env.get(ENV_SANDBOX, "").strip() or None,
            env.get(ENV_TOKEN_FILE, "").strip() or None,
            env.get(ENV_CA_FILE, "").strip() or None,
        )

    @property
    def url(self) -> str:
        """Where this consumer's mapping is."""
        namespace, deployment = (quote(part, safe="") for part in self.consumer.split("/"))
        return f"{self.mapping_url.rstrip('/')}/v1/consumers/{namespace}/{deployment}"
