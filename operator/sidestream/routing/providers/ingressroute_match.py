"""The language of `match` in an IngressRoute: conditions such as `Host(...)`, joined by `!`, `&&`, `||` and brackets.

Traefik has Go's own parser read it, in the syntax of its version 3. This reader takes what Traefik takes, less a few
things that nobody writes (comments, numbers): text of ours is put around a rule, so it must be known where it ends. A
rule that Traefik would not take has no effect there, and a rule of ours that repeats it would have none either.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from sidestream.routing.providers.ingressroute_tokens import MatchError, Token, tokens
from sidestream.routing.regexes import why_refused

_ARGUMENTS: Final = {
    "ClientIP": (1,),
    "Method": (1,),
    "Host": (1,),
    "HostRegexp": (1,),
    "Path": (1,),
    "PathRegexp": (1,),
    "PathPrefix": (1,),
    "Header": (2,),
    "HeaderRegexp": (2,),
    "Query": (1, 2),
    "QueryRegexp": (1, 2),
}
_SPELLINGS: Final = {
    spelling: name for name in _ARGUMENTS for spelling in (name, name.lower(), name.upper(), name.capitalize())
}
_REGEXES: Final = frozenset({"HostRegexp", "PathRegexp", "HeaderRegexp", "QueryRegexp"})


@dataclass(frozen=True)
class Condition:
    """One condition, `name` as the documentation spells it."""

    name: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Not:
    """Holds where `inner` does not."""

    inner: Match


@dataclass(frozen=True)
class And:
    """Holds where both do."""

    left: Match
    right: Match


@dataclass(frozen=True)
class Or:
    """Holds where at least one does."""

    left: Match
    right: Match


Match = Condition | Not | And | Or

Rest = Match | bool
"""What is left of a rule of which something is known: True or False where that decides it."""


@lru_cache(maxsize=20_000)
def parsed(text: str) -> Match:
    """What a rule says.

    Raises:
        MatchError: it cannot be understood.
    """
    parser = _Parser(tuple(tokens(text)))
    found = parser.disjunction()
    parser.expect_end()
    return found


def conditions_of(match: Match) -> Iterator[Condition]:
    """All conditions, also those that are turned round."""
    match match:
        case Condition():
            yield match
        case Not(inner):
            yield from conditions_of(inner)
        case And(left, right) | Or(left, right):
            yield from conditions_of(left)
            yield from conditions_of(right)


def condition(name: str, *arguments: str) -> str:
    """The text of a condition."""
    return f"{name}({', '.join(_literal(argument) for argument in arguments)})"


def negation(match: Match) -> str:
    """The text of a condition that holds where `match` does not.

    Hosts are asked for by HostRegexp there: from Host(...), wherever it stands, Traefik takes the names that a router's
    TLS options and certificates are for.
    """
    return f"!({printed(match)})"


def at_host(match: Match, host: str) -> Rest:
    """What is left of a rule where the request's host is known.

    Raises:
        MatchError: it has a regular expression for hosts that cannot be tried here.
    """
    match match:
        case Condition("Host", (value,)):
            return value.lower().removesuffix(".") == host
        case Condition("HostRegexp", (value,)):
            return _finds(value, host)
        case Condition():
            return match
        case Not(inner):
            found = at_host(inner, host)
            return not found if isinstance(found, bool) else Not(found)
        case And(left, right):
            return _both(at_host(left, host), at_host(right, host))
        case Or(left, right):
            return _either(at_host(left, host), at_host(right, host))


def _finds(pattern: str, host: str) -> bool:
    try:
        return re.search(pattern, host) is not None
    except re.error as error:
        raise MatchError(f"whether HostRegexp(`{pattern}`) holds for host {host} cannot be told") from error


def _both(left: Rest, right: Rest) -> Rest:
    if isinstance(left, bool):
        return right if left else False
    if isinstance(right, bool):
        return left if right else False
    return And(left, right)


def _either(left: Rest, right: Rest) -> Rest:
    if isinstance(left, bool):
        return True if left else right
    if isinstance(right, bool):
        return True if right else left
    return Or(left, right)


def printed(match: Match) -> str:
    """The text of a rule, with HostRegexp for Host: see `negation`."""
    match match:
        case Condition("Host", (host,)):
            return condition("HostRegexp", rf"^{re.escape(host.lower().removesuffix('.'))}\.?$")
        case Condition(name, arguments):
            return condition(name, *arguments)
        case Not(inner):
            return f"!({printed(inner)})"
        case And(left, right):
            return f"({printed(left)}) && ({printed(right)})"
        case Or(left, right):
            return f"({printed(left)}) || ({printed(right)})"


def _literal(text: str) -> str:
    """As a string of Go: in backticks nothing needs escaping, but a backtick cannot stand in them."""
    if "`" not in text and "\r" not in text:
        return f"`{text}`"
    escaped = "".join(char if " " <= char <= "~" and char not in '"\\' else _escape(char) for char in text)
    return f'"{escaped}"'


def _escape(char: str) -> str:
    return f"\\{char}" if char in '"\\' else f"\\U{ord(char):08x}"


class _Parser:
    """Reads from left to right; `!` binds closest, then `&&`, then `||`."""

    def __init__(self, words: tuple[Token, ...]) -> None:
        self._tokens = words
        self._next = 0

    def disjunction(self) -> Match:
        found = self._conjunction()
        while self._takes("||"):
            found = Or(found, self._conjunction())
        return found

    def expect_end(self) -> None:
        if self._peek().kind:
            raise MatchError(f"nothing can follow before {self._peek().text!r}")

    def _conjunction(self) -> Match:
        found = self._operand()
        while self._takes("&&"):
            found = And(found, self._operand())
        return found

    def _operand(self) -> Match:
        if self._takes("!"):
            return Not(self._operand())
        if self._takes("("):
            found = self.disjunction()
            self._expect(")")
            return found
        return self._condition()

    def _condition(self) -> Condition:
        spelled = self._expect("name")
        name = _SPELLINGS.get(spelled)
        if name is None:
            raise MatchError(f"{spelled} is no condition of Traefik 3")
        self._expect("(")
        arguments = [self._expect("text")]
        while self._takes(","):
            arguments.append(self._expect("text"))
        self._expect(")")
        found = Condition(name, tuple(arguments))
        _check(found)
        return _with_plain_hosts(found)

    def _peek(self) -> Token:
        return self._tokens[self._next] if self._next < len(self._tokens) else Token("", "")

    def _takes(self, kind: str) -> bool:
        if self._peek().kind != kind:
            return False
        self._next += 1
        return True

    def _expect(self, kind: str) -> str:
        token = self._peek()
        if token.kind != kind:
            what = {"name": "a condition", "text": "a string"}.get(kind, repr(kind))
            raise MatchError(f"{what} is expected {f'at {token.text!r}' if token.kind else 'at the end'}")
        self._next += 1
        return token.text


def _with_plain_hosts(found: Condition) -> Condition:
    """As a pattern where it asks for hosts by a wildcard, as from Traefik 3.7 on; before that nothing matches it."""
    name, value = found.name, found.arguments[0].lower()
    if name != "Host" or not (value == "*" or value.startswith("*.")):
        return found
    rest = value[1:].removesuffix(".")
    return Condition("HostRegexp", (rf"^[^.]+{re.escape(rest)}\.?$" if rest else "^.",))


def _check(found: Condition) -> None:
    """Refuse what Traefik refuses."""
    name, arguments = found.name, found.arguments
    if len(arguments) not in _ARGUMENTS[name]:
        raise MatchError(f"{name} takes {' or '.join(map(str, _ARGUMENTS[name]))} strings, not {len(arguments)}")
    if not all(arguments):
        raise MatchError(f"{name} has an empty string")
    value = arguments[-1]
    if name in ("Path", "PathPrefix") and not value.startswith("/"):
        raise MatchError(f"{name}(`{value}`) does not begin with a slash")
    if name in ("Host", "HostRegexp") and not value.isascii():
        raise MatchError(f"{name}(`{value}`) is not ASCII")
    if name in _REGEXES and (name, len(arguments)) != ("QueryRegexp", 1):
        why = why_refused(value)
        if why is not None:
            raise MatchError(f"the regular expression `{value}` of {name} {why}")
    if name == "ClientIP":
        _check_address(value)


def _check_address(value: str) -> None:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError as error:
        raise MatchError(f"ClientIP(`{value}`) is no address and no range") from error
