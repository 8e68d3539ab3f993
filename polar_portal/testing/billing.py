"""Billing addresses as Polar reads, completes and refuses them (measured on the server, 2026-08)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polar_portal.testing.records import Address
from polar_portal.testing.validation import Problem, missing, not_a_text, not_an_object, not_one_of

# Every ISO 3166 country but those under a trade embargo of the United States: CU, IR, KP, RU, SY.
_COUNTRY_CODES = (
    "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA "
    "CC CD CF CG CH CI CK CL CM CN CO CR CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB "
    "GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IS IT JE JM JO JP KE KG "
    "KH KI KM KN KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV "
    "MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RW SA SB "
    "SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US "
    "UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW"
)
COUNTRIES = _COUNTRY_CODES.split()
_STATE_CODES = {
    "US": (
        "AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK "
        "OR PA RI SC SD TN TX UT VT VA WA WV WI WY DC"
    ),
    "CA": "AB BC MB NB NL NS NT NU ON PE QC SK YT",
}
STATES = {country: codes.split() for country, codes in _STATE_CODES.items()}
_STATE_REFUSED = {"US": "Value error, Invalid US state", "CA": "Value error, Invalid CA subdivision"}
_TEXTS = ("line1", "line2", "postal_code", "city", "state")


def complete(address: Mapping[str, str | None]) -> Address:
    """Return ``address`` as Polar would store it.

    Raises:
        ValueError: Polar would refuse it.
    """
    stored, problems = read_address(dict(address))
    if stored is None:
        raise ValueError(f"Polar would refuse this billing address: {problems}")
    return stored


def read_changes(body: Any) -> tuple[dict[str, Any], list[Problem]]:
    """Return what a PATCH asks to change, and what is wrong with it."""
    changes: dict[str, Any] = {}
    problems: list[Problem] = []
    if not isinstance(body, dict):
        return changes, [not_an_object(["body"], body)]
    if "billing_name" in body:
        changes["billing_name"] = body["billing_name"]
        problems += not_a_text(["body", "billing_name"], body["billing_name"], optional=True)
    if "billing_address" in body:
        changes["billing_address"] = None
        if body["billing_address"] is not None:
            changes["billing_address"], wrong = read_address(body["billing_address"])
            problems += wrong
    return changes, problems


def read_address(given: Any) -> tuple[Address | None, list[Problem]]:
    """Return the address as Polar stores it, or ``None`` and what is wrong with it."""
    where = ["body", "billing_address"]
    if not isinstance(given, dict):
        return None, [not_an_object(where, given)]
    problems: list[Problem] = []
    for name in _TEXTS:
        problems += not_a_text([*where, name], given.get(name), optional=True)
    country = given.get("country")
    if "country" not in given:
        problems.append(missing([*where, "country"], given))
    elif not isinstance(country, str) or country.upper() not in COUNTRIES:
        shown = country.upper() if isinstance(country, str) else country
        problems.append(not_one_of(COUNTRIES, [*where, "country"], shown))
    if problems:
        return None, problems
    country = str(country).upper()
    # An empty text is stored as null (server's code); only the country is put in upper case, a state is not.
    line1, line2, postal_code, city, state = (given.get(name) or None for name in _TEXTS)
    if state is not None and country in STATES:
        state = state if state.startswith(f"{country}-") else f"{country}-{state}"
        if state[3:] not in STATES[country]:
            message = _STATE_REFUSED[country]
            return None, [
                {"type": "value_error", "loc": where, "msg": message, "input": given, "ctx": {"error": {}}},
            ]
    return Address(line1=line1, line2=line2, postal_code=postal_code, city=city, state=state, country=country), []


def locked(current: Address | None, wanted: Address | None) -> list[Problem]:
    """Return why ``wanted`` may not replace ``current``: country and state lock with the first address."""
    if current is None or wanted is None:
        return []
    problems = []
    for name, before, after in (
        ("country", current["country"], wanted["country"]),
        ("state", current["state"], wanted["state"]),
    ):
        if before != after:
            message = f"{name.title()} cannot be changed"
            problems.append(
                {"type": "value_error", "loc": ["body", "billing_address", name], "msg": message, "input": after}
            )
    return problems
