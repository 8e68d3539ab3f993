"""Many people who click at once: `python -m tests.services.crowd PORT`

It reads a JSON list of clicks, each a path on 127.0.0.1 and the key of a session, makes them all at once, each from a
connection of its own, and writes a JSON list of answers: status (0: the connection broke), and some headers.
"""

from __future__ import annotations

import http.client
import json
import resource
import sys
import threading
from typing import Any

#: Seconds after which an answer is not waited for any more.
LONGEST = 60
HEADERS = ["Location", "Retry-After", "X-Worker", "X-Took"]


def main() -> None:
    port, clicks = int(sys.argv[1]), json.load(sys.stdin)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    threading.stack_size(256 * 1024)
    together = threading.Barrier(len(clicks))
    answers: list[Any] = [None] * len(clicks)

    def click(number: int, path: str, session: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONGEST)
        try:
            connection.connect()
            together.wait(LONGEST)
            connection.request("GET", path, headers={"Cookie": f"sessionid={session}", "Accept": "text/html"})
            response = connection.getresponse()
            response.read()
            answers[number] = [response.status, *map(response.getheader, HEADERS)]
        except (OSError, http.client.HTTPException):
            answers[number] = [0, *[None] * len(HEADERS)]
        finally:
            connection.close()

    threads = [threading.Thread(target=click, args=[number, *each]) for number, each in enumerate(clicks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
