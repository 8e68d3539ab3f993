"""A Polar in a process of its own, over real HTTP: `python -m benchmarks.polar`

Each line that is read is a JSON list, the name of an act and its arguments; each is answered by one line of JSON. The
end of the input ends it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from polar_portal.testing import FakePolar


class Director:
    def __init__(self, polar: FakePolar) -> None:
        self.polar = polar

    def customers(self, external_ids: list[str], orders_each: int) -> list[list[str]]:
        """Add customers with orders whose invoices are made; give the orders' ids."""
        made = []
        for external_id in external_ids:
            customer = self.polar.add_customer(external_id)
            made.append([str(self.polar.add_order(customer, invoice=True).id) for _ in range(orders_each)])
        return made

    def known(self, external_id: str) -> bool:
        return any(each.external_id == external_id for each in self.polar.customers.values())

    def orders(self, external_id: str, number: int) -> list[str]:
        """Add orders of a customer; give their ids."""
        customer = next(each for each in self.polar.customers.values() if each.external_id == external_id)
        return [str(self.polar.add_order(customer, invoice=True).id) for _ in range(number)]

    def token(self, external_id: str) -> str:
        """Give a customer session's token."""
        customer = next(each for each in self.polar.customers.values() if each.external_id == external_id)
        return self.polar.create_session(customer).token

    def delay(self, seconds: float) -> None:
        self.polar.delay = seconds

    def calls(self) -> dict[str, int]:
        """Give how often each endpoint was called since the last time, and forget it."""
        counted: dict[str, int] = {}
        for call in self.polar.calls:
            what = f"{call.method} {'session' if 'session' in call.path else call.path.rsplit('/', 1)[-1]}"
            counted[what] = counted.get(what, 0) + 1
        self.polar.clear_calls()
        return counted

    def webhooks(self, number: int) -> list[tuple[str, dict[str, str]]]:
        """Give signed deliveries, each about an order of its own."""
        customer = self.polar.add_customer()
        made = [self.polar.webhook("order.paid", self.polar.add_order(customer)) for _ in range(number)]
        return [(body.decode(), headers) for body, headers in made]


def main() -> None:
    polar = FakePolar()
    with polar.serve() as base_url:
        answer({"base_url": base_url, "access_token": polar.access_token, "webhook_secret": polar.webhook_secret})
        director = Director(polar)
        for line in sys.stdin:
            act, *given = json.loads(line)
            answer(getattr(director, act)(*given))


def answer(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
