"""Names of everything that Sidestream makes, derived from users' names without collisions."""

from __future__ import annotations

import hashlib
import re
from typing import Final

MAX_NAME: Final = 52
"""Longest name of a fork's object: leaves room for the suffixes that controllers add to pods' names (63 in all)."""

MAX_LABEL: Final = 63
"""Longest label value, and so the longest name that can stand in one."""

MAX_GROUP: Final = 249
"""Longest consumer group name, the same limit as Kafka's for topics."""

GROUP_PLACEHOLDERS: Final = ("group", "namespace", "sandbox")

_HASH_LENGTH: Final = 8

_SANDBOX_NAME: Final = r"[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?"


def fork_name(base: str, sandbox: str) -> str:
    """`<base>-<sandbox>`; over 52 characters it is cut and ends in a hash of both parts.

    `a-b` + `c` and `a` + `b-c` share a short name. Labels tell whose an object is, and a reconciler refuses a name
    that somebody else holds (reason NameTaken) rather than making every name unreadable.
    """
    plain = f"{base}-{sandbox}"
    if len(plain) <= MAX_NAME:
        return plain
    digest = hashlib.sha256(f"{base}/{sandbox}".encode()).hexdigest()[:_HASH_LENGTH]
    return f"{plain[: MAX_NAME - _HASH_LENGTH - 1].rstrip('-.')}-{digest}"


def shortened(name: str, limit: int = MAX_LABEL) -> str:
    """`name`, cut to `limit` characters and ended with a hash of the whole where it is longer."""
    if len(name) <= limit:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{name[: limit - _HASH_LENGTH - 1].rstrip('-.')}-{digest}"


def fork_group_pattern(template: str, *, group: str, namespace: str) -> re.Pattern[str] | None:
    """What the groups of all forks of one consumer are named like; None where a name would not tell whose it is."""
    if "{group}" not in template or "{sandbox}" not in template:
        return None
    known = {"{group}": re.escape(group), "{namespace}": re.escape(namespace), "{sandbox}": _SANDBOX_NAME}
    parts = re.split(r"({(?:group|namespace|sandbox)})", template)
    return re.compile("".join(known.get(part, re.escape(part)) for part in parts))


def fork_group(template: str, *, group: str, namespace: str, sandbox: str) -> str:
    """The fork's consumer group after the KafkaCluster's `groupName` template.

    Raises:
        ValueError: an unknown placeholder, a result equal to the baseline's group, empty, or over 249 characters;
            the text is a sentence for users.
    """
    unknown = sorted(set(re.findall(r"{([^{}]*)}", template)) - set(GROUP_PLACEHOLDERS))
    if unknown:
        raise ValueError(
            f"groupName has the unknown placeholder {{{unknown[0]}}}; known are {{group}}, {{namespace}}, {{sandbox}}"
        )
    name = template.replace("{group}", group).replace("{namespace}", namespace).replace("{sandbox}", sandbox)
    if not name or len(name) > MAX_GROUP:
        raise ValueError(f"groupName makes a group name of {len(name)} characters; Kafka takes 1 to {MAX_GROUP}")
    if name == group:
        raise ValueError(f"groupName makes the baseline's own group {group} for a fork; add {{sandbox}} to it")
    return name
