"""A member of a side as a process of its own, that can be killed: notes every record that it handles in a file.

What it handles is in the file before it is committed, as with an application that writes to a database.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any

from sidestream_sdk import Identity, SandboxConsumer

BATCH = 50
COMMIT_SECONDS = 0.05


def main(order: dict[str, Any]) -> None:
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    identity = Identity(order["url"], "shop/fulfilment", order["sandbox"])
    commits = order["config"].get("enable.auto.commit") is False
    stores = order["config"].get("enable.auto.offset.store") is False
    out = os.open(order["out"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    committed_at = 0.0
    with SandboxConsumer(order["config"], identity=identity) as consumer:
        consumer.subscribe([order["topic"]])
        while not stopped:
            if order["batch"]:
                messages = consumer.consume(BATCH, 0.2)
            else:
                message = consumer.poll(0.2)
                messages = [] if message is None else [message]
            for message in messages:
                if message.error() is not None:
                    continue
                os.write(out, f"{int(message.value() or b'')}\n".encode())
                if stores:
                    consumer.store_offsets(message)
            if commits and time.monotonic() > committed_at + COMMIT_SECONDS:
                committed_at = time.monotonic()
                consumer.commit(asynchronous=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
