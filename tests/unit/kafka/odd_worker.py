"""A worker process that misbehaves as it is told: by `start` in its configuration, later by the verbs themselves."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

from sidestream.kafka import frames


def send(message: dict[str, Any]) -> None:
    sys.stdout.buffer.write(frames.encode(message))
    sys.stdout.buffer.flush()


def garbage() -> None:
    sys.stdout.buffer.write(b"%3|FAIL|a line of a log")
    sys.stdout.buffer.flush()


def shake_hands(how: str) -> None:
    match how:
        case "":
            send({"ready": True})
        case "garbage":
            garbage()
        case "silence":
            time.sleep(3600)
        case "refuse":
            send({"failure": {"name": "_INVALID_ARG", "text": 'Invalid value "s3cret" for property "x"'}})
            sys.exit(1)
        case "exit":
            sys.exit(3)
        case "deaf":
            send({"ready": True})
            time.sleep(3600)
        case _:
            raise ValueError(how)


def serve(verb: str, number: int, args: dict[str, Any]) -> None:
    match verb:
        case "echo":
            send({"id": number, "result": args})
        case "fail":
            send({"id": number, "failure": args})
        case "twice":
            send({"id": number, "result": "first"})
            send({"id": number, "result": "second"})
        case "garbage":
            garbage()
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "exit":
            sys.exit(args["code"])
        case "close":
            os.close(sys.stdout.fileno())
            time.sleep(3600)
        case _:  # `hang`
            pass


def main() -> None:
    first = frames.read(sys.stdin.buffer)
    assert first is not None
    shake_hands(first["config"].get("start", ""))
    served = 0
    while (request := frames.read(sys.stdin.buffer)) is not None:
        served += 1
        match request["verb"]:
            case "served":
                send({"id": request["id"], "result": served})
            case verb:
                serve(verb, request["id"], request["args"])


if __name__ == "__main__":
    main()
