"""The shop with customers and orders of every status, on a Polar of its own: `make demo`, or

    python -m example_project.demo --port 8000

Everything runs in this one process, on a database that is new each time, and ends with it. With POLAR_ACCESS_TOKEN set
(in the environment or in .env) the shop talks to Polar itself, to the sandbox unless told otherwise.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from io import StringIO
from typing import TYPE_CHECKING
from urllib.parse import quote

import django
from django.conf import settings
from django.core.management import CommandError, call_command
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.test import override_settings
from django.urls import reverse

from example_project.demo import people
from example_project.demo.deliveries import delivering
from example_project.demo.people import ACCOUNTS, PASSWORD
from polar_portal.conf import conf

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m example_project.demo", description="Run the demo shop.")
    parser.add_argument("--port", type=int, default=8000, help="where on 127.0.0.1 (default: 8000)")
    port: int = parser.parse_args().port
    # Set even where they are ignored, as a shell does for what it starts in the background.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        with ExitStack() as stack:
            serve(port, stack)
    except KeyboardInterrupt:
        say("\nThe demo has ended.\n")
    return 0


def stop(number: int, frame: object) -> None:
    """End as Ctrl-C does, once: an impatient second one must not break off the tidying up."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def serve(port: int, stack: ExitStack) -> None:
    """Serve until a signal comes. `stack` undoes what has been set up by then."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="polar-portal-demo-"))
    # These go before the developer's own environment and .env. Without DEBUG, error pages are the shop's own.
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "example_project.demo.settings",
        "DATABASE_URL": f"sqlite:///{quote(folder)}/demo.sqlite3?transaction_mode=IMMEDIATE",
        "CACHE_URL": "locmemcache://",
        "ALLOWED_HOSTS": "127.0.0.1,localhost",
        "DEBUG": "False",
        "HTTPS": "False",
        "LOG_LEVEL": "DEBUG",
    }
    django.setup()
    try:
        server = ThreadedWSGIServer(("127.0.0.1", port), WSGIRequestHandler)
    except (OSError, OverflowError) as error:
        sys.exit(f"The demo can't use port {port} ({error}). Choose another one: PORT=8123 make demo")
    stack.enter_context(server)
    address = f"http://127.0.0.1:{server.server_port}"

    call_command("migrate", verbosity=0)
    users = add_users()
    if settings.POLAR_ACCESS_TOKEN:
        explanation = with_polar(users, address)
    else:
        explanation = with_a_polar_of_its_own(users, address, stack)

    # Both need Django to be set up.
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.wsgi import get_wsgi_application

    server.set_app(StaticFilesHandler(get_wsgi_application()))
    stack.callback(server.server_close)  # first of all, so that nobody waits for a delivery that is not taken any more
    say(
        f"\nThe shop is at {address}/ and its admin at {address}/admin/\n"
        f"The password is always: {PASSWORD}\n\n{explanation}\n\nCtrl-C ends it.\n\n"
    )
    server.serve_forever()


def with_a_polar_of_its_own(users: dict[str, User], address: str, stack: ExitStack) -> str:
    """Start a Polar in this process, have the two talk to each other, and return what to tell about it."""
    polar = people.polar
    base_url = stack.enter_context(polar.serve())
    ours = override_settings(
        POLAR_ACCESS_TOKEN=polar.access_token, POLAR_BASE_URL=base_url, POLAR_WEBHOOK_SECRET=polar.webhook_secret
    )
    stack.enter_context(ours)
    people.add_customers(users)
    people.add_orders(users)
    call_command("polar_sync_orders", verbosity=0)  # so that the admin has them at once
    stack.enter_context(delivering(polar, address + reverse("polar_portal:webhook")))
    return (
        f"Sign in as one of these:\n\n{table(ACCOUNTS)}\n\n"
        f"See what can go wrong at {address}{reverse('demo:what_can_go_wrong')}\n\n"
        "It runs on a Polar of its own. Nothing leaves this computer, nothing is kept."
    )


def with_polar(users: dict[str, User], address: str) -> str:
    """See that the settings are sound, and return how to get real orders into the shop."""
    # Neither of a webhook, which Polar could not reach here, nor of a cache that this one process shares with nobody.
    silenced = [*settings.SILENCED_SYSTEM_CHECKS, "polar_portal.W001", "polar_portal.W002"]
    try:
        with override_settings(SILENCED_SYSTEM_CHECKS=silenced):
            call_command("check", stdout=StringIO())
    except CommandError as error:
        sys.exit(str(error))
    return (
        f"It talks to Polar at {conf.POLAR_BASE_URL} and begins without purchases.\n"
        "Make a checkout for one of these users, with this external_customer_id:\n\n"
        f"{table({name: user.pk for name, user in users.items()})}\n\n"
        "Pay it, sign in as that user, and come back from the checkout:\n"
        f"{address}{reverse('shop:thanks')}"
    )


def add_users() -> dict[str, User]:
    from django.contrib.auth.hashers import make_password
    from django.contrib.auth.models import Permission, User

    password = make_password(PASSWORD)  # once: it takes its time on purpose
    users = {name: User.objects.create(username=name, password=password) for name in ACCOUNTS}
    User.objects.filter(username__in=["sam", "admin"]).update(is_staff=True)
    User.objects.filter(username="admin").update(is_superuser=True)
    may = ["view_purchase", "view_order", "view_webhookdelivery", "download_invoice"]
    users["sam"].user_permissions.set(Permission.objects.filter(codename__in=may))
    return users


def table(rows: Mapping[str, object]) -> str:
    return "\n".join(f"  {name:<6} {value}" for name, value in rows.items())


def say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
