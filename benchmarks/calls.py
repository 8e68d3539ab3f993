"""2. One call through our client, beside urllib3 alone, requests, and both official SDKs."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from benchmarks import stage
from benchmarks.report import Row, in_turn, median, ratios, say, spread


def rows(quick: bool) -> list[Row]:
    turns, number = (5, 20) if quick else (15, 60)
    with ExitStack() as stack:
        polar = stack.enter_context(stage.polar())
        ((order,),) = polar.do("customers", ["1"], 1)
        given = [polar.environment["POLAR_BASE_URL"], polar.do("token", "1"), order]
        kinds: dict[str, tuple[str, Path | str]] = {
            "ours": ("ours", sys.executable),
            "urllib3 alone": ("urllib3", sys.executable),
            "requests.Session": ("requests", sys.executable),
        }
        for version, python in stage.SDKS.items():
            if python.is_file():
                kinds[f"polar-sdk {version}, one client kept"] = ("sdk", python)
                kinds[f"polar-sdk {version}, a client for each call"] = ("sdk_new", python)
            else:
                say(f"  polar-sdk {version} is not there: `make bench` installs it.")
        callers = {name: stack.enter_context(Caller(python, kind, given)) for name, (kind, python) in kinds.items()}
        measured = in_turn(
            turns,
            *(
                lambda caller=caller, name=name: median(caller.call(3 if "each call" in name else number))
                for name, caller in callers.items()
            ),
        )
    by_name = dict(zip(callers, measured, strict=True))
    mine = by_name["ours"]
    found = [Row("one call through api/client", f"{median(mine) * 1000:.2f} ms")]
    for name, theirs in by_name.items():
        if name == "ours":
            continue
        share = ratios(mine, theirs)
        goal, reached = "", None
        if name == "urllib3 alone":
            goal, reached = "within 1.5", median(share) <= 1.5
        elif "sdk" in name:
            goal, reached = "under 1", median(share) < 1
        figure = f"{median(share):.2f} ({spread(share)}); theirs {median(theirs) * 1000:.2f} ms"
        found.append(Row(f"ours over {name}", figure, goal, reached))
    return found


class Caller:
    def __init__(self, python: Path | str, kind: str, given: list[str]) -> None:
        self._process = subprocess.Popen(
            [str(python), "-m", "benchmarks.caller", kind, *given],
            cwd=stage.ROOT,
            env=stage.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *given: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)

    def call(self, number: int) -> list[float]:
        """Make so many calls; give the seconds that each took."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{number}\n")
        self._process.stdin.flush()
        took: list[float] = json.loads(self._process.stdout.readline())
        return took
