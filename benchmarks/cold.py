"""3. A cold click: calls to Polar, and what our own code adds to the call itself."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from benchmarks import load, stage
from benchmarks.report import Row, in_turn, median, ratios, say, spread

DELAYS = (0.0, 0.02, 0.1)
OURS, FIRST = "cold click", "cold click of who has no session yet"


def rows(quick: bool) -> list[Row]:
    return [*own_time(quick), *clicks(quick)]


def own_time(quick: bool) -> list[Row]:
    """In one process, without a web server: CustomerPortal(user).invoice(…) beside requests' own call."""
    turns, number = (5, 20) if quick else (15, 60)
    with (
        tempfile.TemporaryDirectory() as folder,
        stage.polar() as polar,
        stage.database(f"sqlite:///{folder}/db.sqlite3") as database,
    ):
        ((pk, _),) = stage.users(database, 1)
        ((order,),) = polar.do("customers", [pk], 1)
        env = stage.environment(DATABASE_URL=database, **polar.environment)
        command = [
            sys.executable,
            "-m",
            "benchmarks.own_time",
            pk,
            order,
            polar.do("token", pk),
            str(turns),
            str(number),
        ]
        done = subprocess.run(command, cwd=stage.ROOT, env=env, check=True, capture_output=True, text=True)
        ours, bare = json.loads(done.stdout)
    own = [(mine - other) * 1000 for mine, other in zip(ours, bare, strict=True)]
    return [
        Row(
            "our own time of a cold click over requests.Session.get, local memory",
            f"{median(own):.2f} ms ({spread(own)}); {median(ours) * 1000:.2f} and {median(bare) * 1000:.2f} ms",
            "under 1 ms",
            median(own) < 1,
        )
    ]


def clicks(quick: bool) -> list[Row]:
    """Served by gunicorn: one customer, each click on an order of its own, beside views around the official SDKs."""
    turns, number = (3, 4) if quick else (9, 12)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        polar = stack.enter_context(stage.polar())
        database = stack.enter_context(stage.database(f"sqlite:///{folder}/db.sqlite3"))
        (pk, cookie), *others = stage.users(database, 1 + (turns * number + number) * len(DELAYS))
        (orders,) = polar.do("customers", [pk], turns * number * len(DELAYS) * 8)
        unused = itertools.cycle(orders)
        theirs = [
            f"/billing/orders/{order}/invoice/" for (order,) in polar.do("customers", [pk for pk, _ in others], 1)
        ]
        first_clicks = iter([(cookie, path) for (_, cookie), path in zip(others, theirs, strict=True)])
        env = {"DATABASE_URL": database, "CUSTOMER_TOKEN": polar.do("token", pk), **polar.environment}
        port = stack.enter_context(stage.site(env, workers=1)).port
        sides: dict[str, tuple[int, Callable[[], Iterator[str]]]] = {
            OURS: (port, lambda: (f"/billing/orders/{order}/invoice/" for order in unused)),
            "a view that only calls requests.get": (port, lambda: (f"/call/{order}/" for order in unused)),
        }
        for version, python in stage.SDKS.items():
            if not python.is_file():
                say(f"  polar-sdk {version} is not there: `make bench` installs it.")
                continue
            sdk = stack.enter_context(stage.site(env, python=python, workers=1, app="sdk")).port
            sides[f"polar-sdk {version}, one client kept"] = (sdk, lambda: (f"/kept/{order}/" for order in unused))
            sides[f"polar-sdk {version}, a client for each click"] = (
                sdk,
                lambda: (f"/new/{order}/" for order in unused),
            )
        found = []
        for delay in DELAYS:
            polar.do("delay", delay)

            def click(name: str, times: int = number) -> float:
                if name == FIRST:
                    answers = load.each_of_another(port, first_clicks, times)
                else:
                    side, paths = sides[name]
                    answers = load.one_by_one(side, cookie, paths(), times)
                assert {each.status for each in answers} == {302}, (name, answers)
                return median([each.seconds for each in answers])

            for name in sides:
                click(name, 2)
            counted = {}
            for name in (OURS, FIRST):
                polar.do("calls")
                click(name)
                calls = polar.do("calls")
                counted[name] = ", ".join(f"{count / number:g} × {what}" for what, count in sorted(calls.items()))
            names = [FIRST, *sides]
            measured = dict(zip(names, in_turn(turns, *(lambda name=name: click(name) for name in names)), strict=True))
            away = f"Polar {delay * 1000:.0f} ms away"
            found += [
                Row(f"{name}, {away}", f"{median(measured[name]) * 1000:.1f} ms; {counted[name]}") for name in counted
            ]
            for name in sides:
                if name == OURS:
                    continue
                figure = f"theirs {median(measured[name]) * 1000:.1f} ms"
                for what, ours in (("with a session", OURS), ("without", FIRST)):
                    share = ratios(measured[ours], measured[name])
                    figure += f"; {what} {median(share):.2f} ({spread(share)})"
                found.append(Row(f"  ours over {name}", figure))
        return found
