"""The words of which a `match` in an IngressRoute is made, as Go's scanner reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_TOKEN: Final = re.compile(
    r"(?P<blank>[ \t\r]+)|(?P<newline>\n)|(?P<name>[A-Za-z]+)|(?P<raw>`[^`]*`)|"
    r'(?P<quoted>"(?:[^"\\\n]|\\[^\n])*")|(?P<sign>&&|\|\||[!(),])'
)


class MatchError(ValueError):
    """Traefik, or this reader, does not take the rule; the text ends the sentence "cannot be understood: "."""


@dataclass(frozen=True)
class Token:
    """One word: `kind` is `name`, `text` (an unquoted string), or the sign itself; at the end of a rule both are ""."""

    kind: str
    text: str


def tokens(text: str) -> Iterator[Token]:
    """The words of a rule.

    Raises:
        MatchError: something in it is none.
    """
    position, is_ended = 0, False
    last = Token("", "")
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise MatchError(f"{text[position:].splitlines()[0][:20]!r} is no part of a rule")
        position = found.end()
        if found.lastgroup == "blank":
            continue
        if found.lastgroup == "newline":
            # Go ends an expression at the end of a line where it could end
            is_ended = is_ended or last.kind in ("name", "text", ")")
            continue
        if is_ended:
            raise MatchError("a line ends where the rule could end, and goes on after it")
        last = _token(found.lastgroup or "", found.group())
        yield last


def _token(group: str, text: str) -> Token:
    match group:
        case "raw":
            return Token("text", text[1:-1].replace("\r", ""))
        case "quoted":
            return Token("text", _unquoted(text[1:-1]))
        case "name":
            return Token("name", text)
        case _:
            return Token(text, text)


def _unquoted(text: str) -> str:
    if "\\" not in text:
        return text
    if not text.isascii() or re.search(r"\\[^abfnrtvxuU0-7\\\"]|\\N", text):
        raise MatchError(f'the string "{text}" has escapes that are not known')
    try:
        return text.encode().decode("unicode_escape")
    except UnicodeDecodeError as error:
        raise MatchError(f'the string "{text}" has escapes that are not known') from error
