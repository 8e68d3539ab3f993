"""Installed in process; and the plugin, which must cost nothing to those who do not use it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import override_settings

import polar_portal.testing
from polar_portal.api import transport
from polar_portal.identity import SESSIONS_A_MINUTE
from polar_portal.portal import CustomerPortal
from polar_portal.testing import FakePolar

OVERRIDDEN = ["POLAR_ACCESS_TOKEN", "POLAR_BASE_URL", "POLAR_WEBHOOK_SECRET", "POLAR_ALLOWED_DOCUMENT_HOSTS"]


def setting(name: str) -> object:
    return getattr(settings, name, None)


def test_plugin_imports_nothing_of_ours_or_djangos() -> None:
    program = (
        "import sys, polar_portal.testing.plugin\n"
        "print(*sorted(name for name in sys.modules if name.split('.')[0] in ('polar_portal', 'django', 'requests')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["polar_portal", "polar_portal.testing", "polar_portal.testing.plugin"]


def test_public_names_are_there() -> None:
    for name in polar_portal.testing.__all__:
        assert getattr(polar_portal.testing, name).__name__ == name
    assert set(polar_portal.testing.__all__) <= set(dir(polar_portal.testing))
    with pytest.raises(AttributeError, match="nothing"):
        polar_portal.testing.nothing  # noqa: B018


def test_fixture_is_a_fake_that_is_installed(fake_polar: FakePolar) -> None:
    assert isinstance(fake_polar, FakePolar)
    assert fake_polar.access_token == setting("POLAR_ACCESS_TOKEN")
    assert fake_polar.base_url == setting("POLAR_BASE_URL")
    assert fake_polar.webhook_secret == setting("POLAR_WEBHOOK_SECRET")


def test_installing_is_undone() -> None:
    before = transport.api_adapter
    polar = FakePolar()
    with polar.installed():
        assert transport.api_adapter is not before
        assert polar.base_url == setting("POLAR_BASE_URL")
    assert transport.api_adapter is before
    assert setting("POLAR_BASE_URL") != polar.base_url


def test_installing_is_undone_whichever_override_ends_first() -> None:
    # As in a test that names pytest-django's `settings` before `fake_polar`, and sets something.
    theirs = override_settings(POLAR_RETURN_URL="/account/")
    before = {name: setting(name) for name in OVERRIDDEN}
    with FakePolar().installed():
        theirs.enable()
    assert setting("POLAR_RETURN_URL") is None, "theirs is done away with by ours"
    theirs.disable()
    assert {name: setting(name) for name in OVERRIDDEN} == before


def test_each_fake_has_its_own_address() -> None:
    assert FakePolar().base_url != FakePolar().base_url


def test_tests_of_yours_do_not_meet_in_the_cache(db: None) -> None:
    # Each begins with users of the same primary keys, and few empty the cache.
    ada = User(pk=1)
    ada.save()
    for _ in range(SESSIONS_A_MINUTE + 1):
        with FakePolar().installed() as polar:
            order = polar.add_order(polar.add_customer(external_id=str(ada.pk)), invoice=True)
            assert polar.download(CustomerPortal(ada).invoice(order.id).url).status == 200
            assert polar.count("POST", "customer-sessions") == 1


def test_in_process_response_can_be_read_as_a_stream(fake_polar: FakePolar) -> None:
    import requests

    request = requests.Request("GET", f"{fake_polar.base_url}/v1/orders/").prepare()
    response = transport.api_adapter().send(request, stream=True, timeout=1, verify=True, cert=None, proxies=None)
    assert response.status_code == 401
    assert response.raw.read1(5) == b'{"err'
    assert response.raw.read() == b'or":"Unauthorized","detail":"Unauthorized"}'
    assert response.raw.headers["polar-version"] == "2026-04"
    response.close()
