"""A process that dies at one of its calls, before the call takes effect or right after."""

from __future__ import annotations

from typing import Any, Final


class CrashError(Exception):
    """The end of the process; nothing in the product may catch it."""


EFFECTS: Final = frozenset({"create", "apply", "apply_status", "replace", "patch", "delete", "place", "delete_group"})
"""Calls that change something outside. To die at another one is to die after the effect before it."""


class Crashes:
    """Counts the calls of every proxy that it made, or only those of `verbs`, and dies at number `at` (0: never)."""

    def __init__(self, at: int = 0, *, after: bool = False, verbs: frozenset[str] | None = None) -> None:
        self.at = at
        self.after = after
        self.verbs = verbs
        self.calls = 0
        self.last = ""

    def proxy(self, target: Any) -> Any:
        """`target` with its coroutine functions counted."""
        return _Proxy(target, self)

    async def pass_through(self, call: Any, name: str, args: Any, kwargs: Any) -> Any:
        if self.verbs is not None and name not in self.verbs:
            return await call(*args, **kwargs)
        self.calls += 1
        is_due = self.calls == self.at
        if is_due:
            self.last = name
        if is_due and not self.after:
            raise CrashError(name)
        result = await call(*args, **kwargs)
        if is_due:
            raise CrashError(name)
        return result


class _Proxy:
    def __init__(self, target: Any, crashes: Crashes) -> None:
        self._target = target
        self._crashes = crashes

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._target, name)

        async def counted(*args: Any, **kwargs: Any) -> Any:
            return await self._crashes.pass_through(call, name, args, kwargs)

        return counted
