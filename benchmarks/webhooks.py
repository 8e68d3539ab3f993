"""8. Webhook deliveries a second: verified, stored and applied."""

from __future__ import annotations

import threading
import time
from contextlib import closing

from benchmarks import load, stage
from benchmarks.report import Row, median, spread


def rows(quick: bool) -> list[Row]:
    number, connections = (100, 8) if quick else (800, 8)
    with stage.polar() as polar, stage.database(stage.any_database()) as database:
        env = {"DATABASE_URL": database, **polar.environment}
        rates = []
        with stage.site(env, workers=2, threads=4) as site:
            for _ in range(2 if quick else 5):
                deliveries = polar.do("webhooks", number)
                answers: list[load.Answer] = []

                def work(mine: list[tuple[str, dict[str, str]]], answers: list[load.Answer] = answers) -> None:
                    with closing(load.Connection(site.port, "")) as connection:
                        for body, headers in mine:
                            answers.append(connection.post("/billing/webhook/", body.encode(), headers))

                threads = [
                    threading.Thread(target=work, args=[deliveries[start::connections]]) for start in range(connections)
                ]
                started = time.perf_counter()
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                rates.append(number / (time.perf_counter() - started))
                assert {each.status for each in answers} == {204}, {each.status for each in answers}
    return [
        Row(
            f"deliveries of new orders a second, {stage.kind(database)}, 2 processes",
            f"{median(rates):.0f} ({spread(rates)})",
        )
    ]
