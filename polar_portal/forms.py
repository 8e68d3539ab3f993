"""The billing details form: what an invoice needs, checked here because Polar would take less."""

from __future__ import annotations

import functools
import unicodedata
from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.translation import gettext_lazy as _

from polar_portal.portal import BillingAddress, PortalOrder
from polar_portal.texts import babel_locale, country_text

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

#: Polar's list (August 2026) is ISO 3166-1 without these.
NOT_AT_POLAR = frozenset({"CU", "IR", "KP", "RU", "SY"})
#: A US or Canadian address saved without its state can never get one (measured 2026-08), so it is asked for at once.
WITH_STATE = ("US", "CA")
#: Of these Polar knows the states and the district, not the outlying areas: they are countries there.
STATE_TYPES = frozenset({"State", "District", "Province", "Territory"})
#: Countries that use no postal codes, or hardly any (Universal Postal Union, 2026).
WITHOUT_POSTAL_CODE = frozenset(
    "AE AG AO AW BF BI BJ BO BQ BS BW BZ CD CF CG CI CK CM CW DJ DM ER FJ GA GD GH GM GQ GY HK IE JM KI KM KN LC ML MO "
    "MR MW NA NR NU PA QA RW SB SC SL SR SS ST SX TD TF TG TK TL TO TT TV UG VU YE ZW".split()
)
LONGEST = 255

#: Polar's own refusals, in the customer's language.
REFUSALS = {
    "Country cannot be changed": _("The country can't be changed any more."),
    "State cannot be changed": _("The state or province can't be changed any more."),
    "Invalid US state": _("Please choose one of the United States."),
    "Invalid CA subdivision": _("Please choose a Canadian province or territory."),
}


def countries() -> list[tuple[str, str]]:
    """Return code and name, in the customer's language and its order, of the countries that Polar takes."""
    return [("", "---------"), *_countries(str(babel_locale()))]


@functools.lru_cache(maxsize=50)
def _countries(locale: str) -> list[tuple[str, str]]:
    """Return them in the language that is active now. locale: that language, so that each has a list of its own."""
    import pycountry  # here, as Babel in texts: most processes never show the form

    codes = [country.alpha_2 for country in pycountry.countries if country.alpha_2 not in NOT_AT_POLAR]
    return sorted(((code, country_text(code)) for code in codes), key=lambda each: _without_accents(each[1]))


@functools.cache
def _states(country: str) -> list[tuple[str, str]]:
    import pycountry

    found = pycountry.subdivisions.get(country_code=country)  # type: ignore[no-untyped-call]
    return sorted(((each.code, each.name) for each in found if each.type in STATE_TYPES), key=lambda each: each[1])


def states() -> list[tuple[str, Any]]:
    """Return ISO 3166-2 code and name of the states that Polar knows, by country."""
    names = dict(countries())
    return [("", "---------"), *((names[country], _states(country)) for country in WITH_STATE)]


def _without_accents(name: str) -> str:
    return unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().casefold()


def without_control_characters(text: str) -> None:
    """Refuse what can't be seen: control characters, and those that turn the direction of the text around them.

    Text that is itself written from right to left needs none of these.
    """
    if any(
        unicodedata.category(each) in {"Cc", "Cs"} or each in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
        for each in text
    ):
        raise forms.ValidationError(_("Please remove invisible control characters."), code="control_character")


def _text(
    label: _StrPromise, autocomplete: str, *, required: bool = True, max_length: int = LONGEST
) -> forms.CharField:
    return forms.CharField(
        label=label,
        required=required,
        max_length=max_length,
        validators=[without_control_characters],
        widget=forms.TextInput({"autocomplete": f"billing {autocomplete}"}),
    )


class BillingDetailsForm(forms.Form):
    """Name and address for the invoice of `order`, with what Polar will not change shown but locked."""

    template_name = "polar_portal/billing_details_fields.html"

    name = _text(_("Name or company"), "name")
    line1 = _text(_("Street and number"), "address-line1")
    line2 = _text(_("Second line (optional)"), "address-line2", required=False)
    postal_code = _text(_("Postal code"), "postal-code", required=False, max_length=20)
    city = _text(_("City"), "address-level2")
    country = forms.ChoiceField(
        label=_("Country"), choices=countries, widget=forms.Select({"autocomplete": "billing country"})
    )
    state = forms.ChoiceField(
        label=_("State or province (US, Canada)"),
        required=False,
        choices=states,
        widget=forms.Select({"autocomplete": "billing address-level1"}),
    )

    def __init__(self, order: PortalOrder, data: Any = None) -> None:
        self.order = order
        address = order.billing_address
        super().__init__(data, initial={"name": order.billing_name, **(vars(address) if address else {})})
        if address:
            # Polar lets neither change once there is an address, not even from nothing to something.
            for name in ("country", "state"):
                self.fields[name].disabled = True
                self.fields[name].required = False
            self.fields["country"].help_text = _("Can't be changed any more.")
            if not address.state:
                del self.fields["state"]
            elif address.state not in {code for _country, group in states()[1:] for code, _name in group}:
                # Another country's, which Polar takes as it is typed.
                self.fields["state"] = forms.CharField(label=_("State or region"), disabled=True)

    @property
    def locked(self) -> list[str]:
        """The names of the fields that Polar will not change."""
        return ["country", "state"] if self.order.billing_address else []

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        address = self.order.billing_address
        country = address.country if address else cleaned.get("country")
        if address:
            # A form from before there was an address: what it says would be dropped in silence.
            for name, value in (("country", address.country), ("state", address.state)):
                typed = self.data.get(name)
                if typed and typed != value:
                    self.add_error(
                        None if name not in self.fields else name, REFUSALS[f"{name.title()} cannot be changed"]
                    )
        elif country in WITH_STATE and not cleaned.get("state"):
            self.add_error("state", _("An address in this country needs its state or province."))
        elif country and cleaned.get("state") and not cleaned["state"].startswith(f"{country}-"):
            self.add_error("state", _("This state or province is not in the chosen country."))
        if country and country not in WITHOUT_POSTAL_CODE and not cleaned.get("postal_code"):
            self.add_error("postal_code", _("An address in this country needs its postal code."))
        return cleaned

    @property
    def address(self) -> BillingAddress:
        """The address to send, once the form is valid."""
        values = {name: self.cleaned_data.get(name, "") for name in BillingAddress.__dataclass_fields__}
        if locked := self.order.billing_address:
            values |= {"country": locked.country, "state": locked.state}
        return BillingAddress(**values)

    def add_refusals(self, fields: dict[str, list[str]]) -> None:
        """Show Polar's own reasons beside their fields."""
        for name, reasons in fields.items():
            for reason in reasons:
                self.add_error(name if name in self.fields else None, REFUSALS.get(reason, reason))
