"""The demo's shop, on a Polar that the tests direct: `python -m tests.browser.stage`

Each line that is read is a JSON list, the name of an act and its arguments; each is answered by one line of JSON. The
end of the input ends it. With `--own-look` the shop does not replace the app's own base.html.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from polar_portal.testing import FakePolar

if TYPE_CHECKING:
    from django.contrib.auth.models import User

#: Seconds that a document takes, and after which a waiting page asks again: less than in real life.
RENDERING = 0.5
ASKING = 1


def main() -> None:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="polar-portal-stage-"))
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "example_project.settings",
            "DATABASE_URL": f"sqlite:///{quote(folder)}/stage.sqlite3?transaction_mode=IMMEDIATE",
            "CACHE_URL": "locmemcache://",
            "ALLOWED_HOSTS": "127.0.0.1",
            "DEBUG": "False",
            "HTTPS": "False",
        }
        polar = FakePolar(name="Leaf and Kettle")
        polar.render_seconds = RENDERING
        prepare(stack.enter_context(polar.serve()), polar)
        directed(Director(polar), stack)


def prepare(base_url: str, polar: FakePolar) -> None:
    """Set Django up, as the shop's settings say but for Polar, the look and the language."""
    import django
    from django.conf import settings
    from django.core.management import call_command

    settings.POLAR_ACCESS_TOKEN = polar.access_token
    settings.POLAR_BASE_URL = base_url
    settings.POLAR_ALLOWED_DOCUMENT_HOSTS = []
    if "--own-look" in sys.argv:
        settings.TEMPLATES[0]["DIRS"] = []
    # The shop itself speaks English only; the app's pages speak the browser's language.
    place = settings.MIDDLEWARE.index("django.middleware.common.CommonMiddleware")
    settings.MIDDLEWARE.insert(place, "django.middleware.locale.LocaleMiddleware")
    django.setup()
    call_command("migrate", verbosity=0)

    from polar_portal import making

    making.ASK_EVERY = making.ASK_FOR_RECEIPT_EVERY = ASKING


def directed(director: Director, stack: ExitStack) -> None:
    """Serve the shop, and do what is read."""
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
    from django.core.wsgi import get_wsgi_application

    server = stack.enter_context(ThreadedWSGIServer(("127.0.0.1", 0), WSGIRequestHandler))
    server.set_app(StaticFilesHandler(get_wsgi_application()))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stack.callback(server.shutdown)
    answer(f"http://127.0.0.1:{server.server_port}")
    for line in sys.stdin:
        act, *given = json.loads(line)
        answer(getattr(director, act)(*given))


def answer(value: object) -> None:
    print(json.dumps(value), flush=True)  # noqa: T201 - this is how it answers


class Director:
    """What tests can have done. Arguments and results are JSON."""

    def __init__(self, polar: FakePolar) -> None:
        self.polar = polar

    def customer(self, name: str, orders: list[dict[str, Any]]) -> dict[str, Any]:
        """Add a user who is a customer, signed in, with orders; give the session's key and the orders' ids."""
        from example_project.shop.models import Purchase

        user, session = self._user(name)
        customer = self.polar.add_customer(str(user.pk), name=name)
        for each in orders:
            if "created_at" in each:
                each["created_at"] = datetime.fromisoformat(each["created_at"])
        added = [self.polar.add_order(customer, **each) for each in orders]
        Purchase.objects.bulk_create(
            Purchase(
                user=user,
                product_name=order.product.name,
                amount=order.total_amount,
                currency=order.currency,
                status=order.status,
                polar_order_id=order.id,
                created_at=order.created_at,
            )
            for order in added
        )
        return {"session": session, "orders": [str(order.id) for order in added]}

    def stranger(self) -> dict[str, Any]:
        """Add a user whom Polar does not know, signed in."""
        return {"session": self._user("stranger")[1], "orders": []}

    def portals_address(self) -> str:
        """Give where the hosted portal is, without its query."""
        return f"{self.polar.document_base}/{self.polar.slug}/portal"

    def count(self, method: str, path: str) -> int:
        return self.polar.count(method, path)

    def fail(self, status: int) -> None:
        """Let every call fail until `recover`."""
        self.polar.fail(status=status, times=None)

    def refuse(self, name: str, message: str) -> None:
        """Let the next change of billing details be refused because of this field of the address."""
        loc = ["body", "billing_address", name]
        self.polar.fail("PATCH", status=422, json={"detail": [{"type": "value_error", "loc": loc, "msg": message}]})

    def recover(self) -> None:
        self.polar.clear_failures()

    def hold_jobs(self) -> None:
        self.polar.hold_jobs()

    def release_jobs(self) -> None:
        self.polar.release_jobs()

    def _user(self, name: str) -> tuple[User, str]:
        from django.conf import settings
        from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
        from django.contrib.auth.models import User
        from django.contrib.sessions.backends.db import SessionStore

        user = User.objects.create(username=f"{name.split()[0].lower()}-{User.objects.count()}")
        session = SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.save()
        return user, str(session.session_key)


if __name__ == "__main__":
    main()
