"""The members of a trial as processes: started, stopped, and killed without a word.

What is killed starts again a moment later as long as it is wanted, as the kubelet does with containers.
"""

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from bench.handoff.post import Post

STOP_SECONDS = 20.0
RESTART_SECONDS = (0.5, 2.0)
KILL_EVERY_SECONDS = (3.0, 9.0)

Process = subprocess.Popen[bytes]


class Crew:
    """Who is at which post. All methods may be called from any thread."""

    def __init__(self) -> None:
        self.kills = 0
        self.crashes = 0
        """Members that had ended by themselves when they were to stop."""
        self._lock = threading.Lock()
        self._at_work: dict[Post, Process] = {}

    def start(self, posts: Iterable[Post]) -> None:
        """Start a member at each post where there is none."""
        with self._lock:
            for post in posts:
                if post not in self._at_work:
                    self._at_work[post] = _start(post)

    def stop(self, posts: Iterable[Post]) -> None:
        """Let the members at these posts leave their group in an orderly way, and wait until they are gone."""
        with self._lock:
            leaving = [self._at_work.pop(post) for post in posts if post in self._at_work]
            self.crashes += sum(process.poll() is not None for process in leaving)
        for process in leaving:
            process.terminate()
        for process in leaving:
            _wait(process)

    def stop_all(self) -> None:
        """As `stop`, of whoever is at work."""
        self.stop(tuple(self._at_work))

    def kill_one(self, chance: random.Random) -> None:
        """Kill a member, and start it again after a moment unless it was to stop by then."""
        with self._lock:
            if not self._at_work:
                return
            post = chance.choice(sorted(self._at_work, key=lambda post: post.name))
            process = self._at_work[post]
            process.kill()
            process.wait()
            self.kills += 1
        time.sleep(chance.uniform(*RESTART_SECONDS))
        with self._lock:
            if self._at_work.get(post) is process:
                self._at_work[post] = _start(post)


@contextmanager
def crew() -> Iterator[Crew]:
    """A crew that is gone in the end."""
    members = Crew()
    try:
        yield members
    finally:
        members.stop_all()


def kill_on_and_on(members: Crew, seed: int, until: threading.Event) -> None:
    """Kill now this member, now that, at moments that only chance knows."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    while not until.wait(chance.uniform(*KILL_EVERY_SECONDS)):
        members.kill_one(chance)


def _start(post: Post) -> Process:
    with post.log.open("ab") as log:
        return subprocess.Popen([sys.executable, "-m", "bench.handoff.member", post.to_json()], stdout=log, stderr=log)


def _wait(process: Process) -> None:
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
