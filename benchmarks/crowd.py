"""5. A crowd: 1,000 clicks at once on one cold document, four processes, Redis."""

from __future__ import annotations

from benchmarks import load, stage
from benchmarks.report import Row, say

CLICKS = 1000


def rows(quick: bool) -> list[Row]:
    if not stage.answers(stage.REDIS_URL, 6379):
        say("  Redis does not answer: not measured.")
        return [Row("1,000 clicks at once", "not measured")]
    found = []
    with stage.polar() as polar, stage.database(stage.any_database()) as database:
        ((pk, cookie),) = stage.users(database, 1)
        env = {"DATABASE_URL": database, "CACHE_URL": stage.redis_cache(), **polar.environment}
        with stage.site(env, workers=4, threads=16) as site:
            for turn in range(1 if quick else 5):
                ((order,),) = polar.do("customers", [pk], 1) if turn == 0 else [polar.do("orders", pk, 1)]
                polar.do("delay", 0.1)
                polar.do("calls")
                got = load.at_once(site.port, [cookie] * CLICKS, f"/billing/orders/{order}/invoice/")
                calls = polar.do("calls")
                counted = ", ".join(f"{count} × {what}" for what, count in sorted(calls.items()))
                statuses = {status: sum(each.status == status for each in got.answers) for status in got.statuses()}
                found.append(
                    Row(
                        f"{CLICKS:,} clicks at once" + (" (the first also makes a session)" if turn == 0 else ""),
                        f"{counted}; answers {statuses}; half within {got.percentile(0.5):.2f} s, the slowest "
                        f"{got.percentile(1):.2f} s",
                        "one call",
                        calls.get("GET invoice") == 1,
                        {f"crowd {turn + 1}": [each.seconds for each in got.answers]},
                    )
                )
    return found
