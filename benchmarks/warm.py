"""1. A warm click, whose URL is in the cache, beside a view that reads the cache once and redirects."""

from __future__ import annotations

import tempfile

from benchmarks import load, stage
from benchmarks.report import Row, in_turn, median, ratios, say, spread


def rows(quick: bool) -> list[Row]:
    found = []
    caches = {"local memory": stage.LOCMEM}
    if stage.answers(stage.REDIS_URL, 6379):
        caches["Redis"] = stage.redis_cache()
    else:
        say("  Redis does not answer: not measured with it.")
    for name, cache in caches.items():
        found += measured(name, cache, quick)
    return found


def measured(name: str, cache: str, quick: bool) -> list[Row]:
    turns, seconds = (6, 0.5) if quick else (20, 1.0)
    with (
        tempfile.TemporaryDirectory() as folder,
        stage.polar() as polar,
        stage.database(f"sqlite:///{folder}/db.sqlite3") as database,
    ):
        ((pk, cookie),) = stage.users(database, 1)
        ((order,),) = polar.do("customers", [pk], 1)
        env = {"DATABASE_URL": database, "CACHE_URL": cache, **polar.environment}
        path = f"/billing/orders/{order}/invoice/"
        with stage.site(env, workers=2, threads=4) as site:
            # Each process warms up, and with local memory has a cache of its own.
            for each in (path, "/bare/"):
                load.hammer(site.port, cookie, each, connections=8, seconds=1)
            slices: dict[str, list[load.Slice]] = {path: [], "/bare/": []}
            used: dict[str, list[float]] = {path: [], "/bare/": []}

            def click(each: str) -> float:
                before = site.cpu_seconds()
                got = load.hammer(site.port, cookie, each, connections=8, seconds=seconds)
                assert got.statuses() == {302}, got.statuses()
                slices[each].append(got)
                used[each].append((site.cpu_seconds() - before) / len(got.answers))
                return got.per_second

            ours, bare = in_turn(turns, lambda: click(path), lambda: click("/bare/"))
            calls = polar.do("calls").get("GET invoice", 0)
    cheap = ratios(used["/bare/"], used[path])
    share = ratios(ours, bare)
    rows = [
        Row(
            f"warm click, {name}: clicks for the same processor time, beside the bare view",
            f"{median(cheap):.3f} ({spread(cheap)}); {median(used[path]) * 1000:.2f} and "
            f"{median(used['/bare/']) * 1000:.2f} ms a click",
            "at least 0.95",
            median(cheap) >= 0.95,
        ),
        Row(
            f"warm click, {name}: throughput beside the bare view",
            f"{median(share):.3f} ({spread(share)}); {median(ours):.0f} and {median(bare):.0f} a second",
            lines={
                f"{title}, {name}": [answer.seconds for each in slices[which] for answer in each.answers]
                for title, which in (("our view", path), ("bare view", "/bare/"))
            },
        ),
    ]
    for title, percent in (("p50", 0.5), ("p99", 0.99)):
        mine, other = (
            median([each.percentile(percent) for each in slices[which]]) * 1000 for which in (path, "/bare/")
        )
        rows.append(Row(f"warm click, {name}: {title}", f"{mine:.2f} ms, bare {other:.2f} ms: {mine / other:.2f}"))
    rows.append(Row(f"warm click, {name}: calls to Polar in all", str(calls)))
    return rows
