"""German, French and Spanish: catalogues that are complete, compiled and well set, and pages that speak them."""

# ruff: noqa: RUF001 - the apostrophe of well-set French

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import time_machine
from babel.messages import Catalog, Message
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from django.utils.translation import override
from hatchling.builders.wheel import WheelBuilder
from pytest_django import Settings

from polar_portal.testing import FakePolar
from polar_portal.testing.records import Status
from polar_portal.texts import STATUSES
from tests.conftest import JSON

ROOT = Path(__file__).parent.parent
LOCALE = ROOT / "polar_portal" / "locale"
LANGUAGES = ["de", "es", "fr"]
in_each_language = pytest.mark.parametrize("language", LANGUAGES)


def catalogue(language: str, file: str = "django.po") -> Catalog:
    with (LOCALE / language / "LC_MESSAGES" / file).open("rb") as opened:
        return read_mo(opened) if file.endswith(".mo") else read_po(opened, abort_invalid=True)


def messages(language: str) -> list[Message]:
    return [message for message in catalogue(language) if message.id]


def forms(text: str | list[str] | tuple[str, ...] | None) -> list[str]:
    """The forms of a message: one, or one for each plural."""
    return [text] if isinstance(text, str) else list(text or [""])


def pairs(language: str) -> Iterator[tuple[str, str]]:
    """Each English text with its translation; with several plural forms each with the last English one."""
    for message in messages(language):
        for translation in forms(message.string):
            yield forms(message.id)[-1], translation


# The catalogues


def test_languages() -> None:
    assert sorted(folder.name for folder in LOCALE.iterdir()) == LANGUAGES


@in_each_language
def test_everything_is_translated(language: str) -> None:
    translated = catalogue(language)
    assert len(messages(language)) > 100
    for message in messages(language):
        assert not message.fuzzy, message.id
        assert all(text.strip() for text in forms(message.string)), message.id
        if not isinstance(message.id, str):
            assert len(forms(message.string)) == translated.num_plurals, message.id
    assert not translated.fuzzy
    assert not translated.obsolete


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[Any, ...]]:
    """What makemessages finds in the sources as they are."""
    if missing := [tool for tool in ("xgettext", "msguniq", "msgmerge", "msgattrib") if not shutil.which(tool)]:
        pytest.skip(f"makemessages needs GNU gettext, of which this machine lacks {', '.join(missing)}")
    package = tmp_path_factory.mktemp("sources") / "polar_portal"
    shutil.copytree(LOCALE.parent, package, ignore=shutil.ignore_patterns("locale", "__pycache__"))
    (package / "locale").mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")}
    subprocess.run(
        [sys.executable, "-m", "django", "makemessages", "--locale", "de", "--ignore", "testing/*"],
        cwd=package,
        env=environment,
        check=True,
        capture_output=True,
    )
    with (package / "locale/de/LC_MESSAGES/django.po").open("rb") as opened:
        return {identity(message) for message in read_po(opened) if message.id}


def identity(message: Message) -> tuple[Any, ...]:
    return message.context, message.id, "python-format" in message.flags


@in_each_language
def test_catalogue_has_what_the_sources_say_today(language: str, found: set[tuple[Any, ...]]) -> None:
    kept = {identity(message) for message in messages(language)}
    assert found - kept == set(), "makemessages has not been run since these came"
    assert kept - found == set(), "makemessages --no-obsolete has not been run since these went"


@in_each_language
def test_compiled_catalogue_is_what_its_source_gives(language: str) -> None:
    source, compiled = catalogue(language), catalogue(language, "django.mo")
    contents = [
        {(each.context, *forms(each.id)): forms(each.string) for each in made if each.id} for made in (source, compiled)
    ]
    assert contents[1] == contents[0], "compilemessages has not been run since"
    assert (compiled.num_plurals, compiled.plural_expr) == (source.num_plurals, source.plural_expr)
    assert compiled.charset.lower() == source.charset.lower() == "utf-8"


def test_wheel_has_the_compiled_catalogues() -> None:
    packed = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    for language in LANGUAGES:
        assert f"polar_portal/locale/{language}/LC_MESSAGES/django.mo" in packed


PLACEHOLDERS = re.compile(r"%\(\w+\)[a-z]|%.|\{\w*\}|&#?\w+;|</?\w[^>]*>")


@in_each_language
def test_placeholders_are_kept(language: str) -> None:
    for english, translation in pairs(language):
        assert sorted(PLACEHOLDERS.findall(translation)) == sorted(PLACEHOLDERS.findall(english)), english
        # Templates print a translation as it stands, like their own markup.
        assert "<" not in translation or "<" in english, english


@in_each_language
def test_translation_begins_and_ends_like_its_text(language: str) -> None:
    for english, translation in pairs(language):
        assert translation == translation.strip(), english
        ends = [found and found[0] for found in (re.search(r"[.:!?…]$", text) for text in (english, translation))]
        assert ends[1] == ends[0], english
        # What opens with a capital is a sentence, a title or a button; Polar has one everywhere.
        if english[0].isupper() and not english.startswith("Polar") and translation[0].isalpha():
            assert translation[0].isupper(), english


@in_each_language
def test_typography(language: str) -> None:
    for english, translation in pairs(language):
        assert not re.search(r"""["'`]""", translation), english  # straight ones
        assert "  " not in translation, english
        spaced = re.findall(r"(.)[:;?!»]", translation)
        if language == "fr":
            assert set(spaced) <= {"\u00a0", "\u202f"}, english
        else:
            assert not set(spaced) & set(" \u00a0\u202f"), english


FAMILIAR = {
    "de": r"\b(du|dich|dir|dein\w*|ihr|euch|euer|eure\w*)\b",
    "es": r"\b(tú|tu|tus|te|ti|contigo|vosotros|vuestr\w+|os)\b",
    "fr": r"\b(tu|te|toi|ton|ta|tes)\b",
}


@in_each_language
def test_customers_are_addressed_politely(language: str) -> None:
    for english, translation in pairs(language):
        # In German, "ihr" is familiar only where it has no capital.
        assert not re.search(FAMILIAR[language], translation), english


# By a part of the English word, so that the plurals are meant too.
TERMS = {
    "de": {"invoice": "rechnung", "receipt": "quittung", "order": "bestellung|bestell-id"},
    "es": {"invoice": "factura", "receipt": "recibo", "order": "pedido"},
    "fr": {"invoice": "facture", "receipt": "reçu", "order": "commande"},
}


@in_each_language
def test_terms_of_the_trade_stay_the_same(language: str) -> None:
    for english, translation in pairs(language):
        for word, term in TERMS[language].items():
            if re.search(rf"\b{word}", english, re.IGNORECASE):
                assert re.search(term, translation, re.IGNORECASE), english


@in_each_language
def test_no_two_statuses_read_the_same(language: str) -> None:
    with override(language):
        assert len({str(text) for text in STATUSES.values()}) == len(STATUSES)


# The pages

ADDRESS = {"line1": "Unter den Linden 1", "postal_code": "10117", "city": "Berlin", "country": "DE"}
#: What the customer or the shop has written, which is the same in each language.
DATA = {"Pro Plan", "Ada Lovelace", "Unter den Linden 1", "10117 Berlin"}

#: What each page says in each language, among other things.
EXPECTED = {
    "de": {
        "list": (
            "Ihre Bestellungen | 58,80\u00a0$ | Bezahlt | Storniert | Teilweise erstattet | $ erstattet | "
            "Zahlung ausstehend | 1. November 2026 | Seite 1 von 2 | Ältere Bestellungen | "
            "Abrechnungsportal öffnen"
        ),
        "last page": "Neuere Bestellungen | Seite 2 von 2",
        "order": (
            "Ihr Einkauf | Gesamtbetrag | Steuern | Rechnung herunterladen | Quittung herunterladen | "
            "Rechnungsdaten | Deutschland | 1. November 2026"
        ),
        "cancelled order": "Rechnungen gibt es nur für abgeschlossene Bestellungen.",
        "offer": (
            "Ihre Rechnung ist noch nicht erstellt | Die Rechnung wird ausgestellt auf | Rechnung erstellen | "
            "Rechnungsdaten korrigieren | Deutschland"
        ),
        "offer without details": (
            "Für eine Rechnung werden Name und Rechnungsadresse benötigt. | "
            "Ihre Quittung ist sofort verfügbar: | Rechnungsdaten angeben"
        ),
        "form": (
            "Die Rechnung wird auf diesen Namen und diese Adresse ausgestellt. | Name oder Firma | "
            "Postleitzahl | Straße und Hausnummer | Speichern und Rechnung erstellen | Abbrechen | "
            "Kann nicht mehr geändert werden."
        ),
        "form with errors": (
            "Bitte beachten Sie die Hinweise bei den Feldern. | Fehler: Rechnungsdaten | "
            "Eine Adresse in diesem Land braucht den Bundesstaat oder die Provinz."
        ),
        "waiting": "Ihre Rechnung wird vorbereitet | Sie können auf dieser Seite bleiben: | Ihre Rechnung ist fertig",
        "waited too long": "Das dauert länger als üblich. | Erneut nachsehen",
        "ready": "Ihre Rechnung ist fertig | Der Download startet automatisch. | Rechnung herunterladen",
        "receipt": "Ihre Quittung wird vorbereitet | Ihre Quittung ist fertig | Quittung herunterladen",
        "portal": "Abrechnungsportal wird geöffnet | Das Portal öffnet sich automatisch.",
        "not found": "Bestellung nicht gefunden | In Ihrem Konto gibt es diese Bestellung nicht.",
        "stranger": "Hier gibt es noch nichts zu sehen | Sie haben mit diesem Konto noch nichts gekauft",
        "list without Polar": "Unser Abrechnungsdienst ist zurzeit nicht erreichbar.",
        "order without Polar": "Ihre Dokumente sind zurzeit nicht erreichbar | Erneut versuchen",
    },
    "es": {
        "list": (
            "Sus pedidos | 58,80\u00a0US$ | Pagado | Cancelado | Reembolsado parcialmente | US$ reembolsados | "
            "Pago pendiente | 1 de noviembre de 2026 | Página 1 de 2 | Pedidos anteriores | "
            "Abrir el portal de facturación"
        ),
        "last page": "Pedidos más recientes | Página 2 de 2",
        "order": (
            "Su compra | Importe | Impuestos | Descargar factura | Descargar recibo | Datos de facturación | "
            "Alemania | 1 de noviembre de 2026"
        ),
        "cancelled order": "Solo se emiten facturas de pedidos completados.",
        "offer": (
            "Su factura todavía no se ha generado | La factura se emitirá a nombre de | Generar factura | "
            "Corregir datos de facturación | Alemania"
        ),
        "offer without details": (
            "Para emitir una factura se necesitan un nombre y una dirección de facturación. | "
            "Su recibo está disponible de inmediato: | Añadir datos de facturación"
        ),
        "form": (
            "La factura se emite a este nombre y con esta dirección. | Nombre o empresa | Código postal | "
            "Calle y número | Guardar y generar la factura | Cancelar | Ya no se puede cambiar."
        ),
        "form with errors": (
            "Revise los mensajes que aparecen junto a los campos. | Error: Datos de facturación | "
            "Una dirección de este país debe indicar el estado o la provincia."
        ),
        "waiting": "Su factura se está preparando | Puede permanecer en esta página: | Su factura está lista",
        "waited too long": "Esto tarda más de lo habitual. | Volver a comprobar",
        "ready": "Su factura está lista | La descarga comienza automáticamente. | Descargar factura",
        "receipt": "Su recibo se está preparando | Su recibo está listo | Descargar recibo",
        "portal": "Abriendo el portal de facturación | El portal se abre automáticamente.",
        "not found": "Pedido no encontrado | Este pedido no figura en su cuenta.",
        "stranger": "Todavía no hay nada que mostrar | No ha comprado nada con esta cuenta",
        "list without Polar": "En este momento no podemos conectar con nuestro proveedor de facturación.",
        "order without Polar": "Sus documentos no están disponibles en este momento | Volver a intentarlo",
    },
    "fr": {
        "list": (
            "Vos commandes | 58,80\u00a0$US | Payée | Annulée | Partiellement remboursée | $US remboursés | "
            "Paiement en attente | 1 novembre 2026 | Page 1 sur 2 | Commandes plus anciennes | "
            "Ouvrir le portail de facturation"
        ),
        "last page": "Commandes plus récentes | Page 2 sur 2",
        "order": (
            "Vos achats | Montant | Taxes | Télécharger la facture | Télécharger le reçu | Allemagne | "
            "Coordonnées de facturation | 1 novembre 2026"
        ),
        "cancelled order": "Les factures sont réservées aux commandes finalisées.",
        "offer": (
            "Votre facture n’a pas encore été établie | La facture sera établie au nom de | Établir la facture | "
            "Corriger les coordonnées de facturation | Allemagne"
        ),
        "offer without details": (
            "Une facture doit comporter un nom et une adresse de facturation. | "
            "Votre reçu est disponible immédiatement\u00a0: | Ajouter des coordonnées de facturation"
        ),
        "form": (
            "La facture est établie à ce nom et à cette adresse. | Nom ou société | Code postal | "
            "Numéro et rue | Enregistrer et établir la facture | Annuler | Ne peut plus être modifié."
        ),
        "form with errors": (
            "Veuillez consulter les messages à côté des champs. | Erreur\u00a0: Coordonnées de facturation | "
            "Une adresse dans ce pays doit indiquer l’État ou la province."
        ),
        "waiting": (
            "Votre facture est en préparation | Vous pouvez rester sur cette page\u00a0: | Votre facture est prête"
        ),
        "waited too long": "Cela prend plus de temps que d’habitude. | Vérifier à nouveau",
        "ready": "Votre facture est prête | Le téléchargement démarre automatiquement. | Télécharger la facture",
        "receipt": "Votre reçu est en préparation | Votre reçu est prêt | Télécharger le reçu",
        "portal": "Ouverture du portail de facturation | Le portail s’ouvre automatiquement.",
        "not found": "Commande introuvable | Cette commande n’existe pas dans votre compte.",
        "stranger": "Rien à afficher pour le moment | Vous n’avez rien acheté avec ce compte",
        "list without Polar": "Notre prestataire de facturation est injoignable pour le moment.",
        "order without Polar": "Vos documents ne sont pas accessibles pour le moment | Réessayer",
    },
}


class Texts(HTMLParser):
    """What a page says, piece by piece: its text, and the attributes that are read out or shown later."""

    SAID = frozenset({"alt", "aria-label", "data-polar-ready-title", "placeholder", "title"})
    # Countries and states have many a name that is the same everywhere.
    UNHEARD = frozenset({"option", "script", "style"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.pieces: set[str] = set()
        self.language: str | None = None
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        if tag == "html":
            self.language = dict(attrs)["lang"]
        for name, value in attrs:
            if name in self.SAID:
                self.hear(value or "")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside not in self.UNHEARD:
            self.hear(data)

    def hear(self, text: str) -> None:
        if re.search(r"[^\W\d_]{2}", text):
            self.pieces.add(text.strip())


Walk = Callable[[], dict[str, str]]


@pytest.fixture
def walk(fake_polar: FakePolar, ada: User, bob: User) -> Iterator[Walk]:
    """Open every page that a customer can meet, in the language of the moment."""
    now = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
    with time_machine.travel(now, tick=False) as traveller:
        customer = fake_polar.add_customer(external_id=str(ada.pk), name="Ada Lovelace", billing_address=ADDRESS)
        for _ in range(20):
            fake_polar.add_order(customer, created_at=now - timedelta(days=9))
        statuses: list[Status] = ["pending", "paid", "refunded", "partially_refunded"]
        for status in statuses:
            fake_polar.add_order(customer, status=status)
        bare = fake_polar.add_order(customer, billing_name=None, billing_address=None)
        void = fake_polar.add_order(customer, status="void")

        def walk() -> dict[str, str]:
            cache.clear()
            fake_polar.clear_failures()
            order = fake_polar.add_order(customer, receipt=True)
            orders, path = "/billing/orders/", f"/billing/orders/{order.id}/"
            client, stranger = Client(), Client()
            client.force_login(ada)
            stranger.force_login(bob)
            pages = {
                "list": client.get(orders),
                "last page": client.get(f"{orders}?page=2"),
                "order": client.get(path),
                "cancelled order": client.get(f"{orders}{void.id}/"),
                "offer": client.get(f"{path}invoice/"),
                "offer without details": client.get(f"{orders}{bare.id}/invoice/"),
                "form": client.get(f"{path}billing-details/"),
                "form with errors": client.post(f"{orders}{bare.id}/billing-details/", {"country": "US"}),
                "waiting": client.post(f"{path}invoice/", follow=True),
                "waited too long": client.get(f"{path}invoice/?waiting=20"),
                "receipt": client.get(f"{path}receipt/"),
                "portal": client.post("/billing/portal/"),
                "not found": client.get(f"{orders}{uuid.UUID(int=7)}/"),
                "stranger": stranger.get(orders),
            }
            traveller.shift(6)
            pages["ready"] = client.get(f"{path}invoice/?waiting=1")
            fake_polar.fail(status=503, times=None)
            pages["list without Polar"] = client.get(orders)
            pages["order without Polar"] = client.get(f"{path}receipt/")
            return {name: html.unescape(response.text) for name, response in pages.items()}

        yield walk


@in_each_language
def test_pages_speak_the_language_and_no_other(language: str, walk: Walk) -> None:
    with override("en"):
        in_english = walk()
    with override(language):
        pages = walk()
    assert set(pages) == set(EXPECTED[language])
    same_word = {english for english, translation in pairs(language) if english == translation}
    for name, page in pages.items():
        for sentence in EXPECTED[language][name].split(" | "):
            assert sentence in page, name
        heard = Texts(page)
        assert heard.language == language, name
        # What both languages say is the customer's own, or the same word in both.
        numbers = {piece for piece in heard.pieces if piece.startswith("ACME-")}
        assert heard.pieces & Texts(in_english[name]).pieces <= DATA | numbers | same_word, name


@pytest.mark.parametrize(
    ("accepted", "language", "shown"),
    [
        ("de-AT,de;q=0.9,en;q=0.5", "de", "Ihre Bestellungen"),
        ("es-MX,es;q=0.9,en;q=0.5", "es-mx", "Sus pedidos"),
        ("fr-CA,fr;q=0.9,en;q=0.5", "fr", "Vos commandes"),
        ("xx,en;q=0.5", "en", "Your orders"),
    ],
)
def test_browser_chooses_where_the_host_lets_it(
    fake_polar: FakePolar, ada: User, settings: Settings, accepted: str, language: str, shown: str
) -> None:
    fake_polar.add_order(fake_polar.add_customer(external_id=str(ada.pk)))
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
    client = Client()
    client.force_login(ada)
    with override("en"):  # the middleware leaves its language behind
        response = client.get("/billing/orders/", headers={"accept-language": accepted})
    assert f"<h1>{shown}</h1>" in response.text
    assert Texts(response.text).language == language
    assert "Accept-Language" in response["Vary"]


@pytest.mark.parametrize(
    ("language", "sign_in", "not_found"),
    [
        ("de", "Bitte melden Sie sich an.", "In Ihrem Konto gibt es diese Bestellung nicht."),
        ("es", "Inicie sesión.", "Este pedido no figura en su cuenta."),
        ("fr", "Veuillez vous connecter.", "Cette commande n’existe pas dans votre compte."),
    ],
)
def test_json_speaks_the_language(
    fake_polar: FakePolar, ada: User, language: str, sign_in: str, not_found: str
) -> None:
    client = Client(headers=JSON)
    with override(language):
        assert client.get("/billing/orders/").json() == {"error": "not_authenticated", "detail": sign_in}
        client.force_login(ada)
        body = client.get(f"/billing/orders/{uuid.UUID(int=7)}/").json()
    assert body["error"] == "order_not_found"
    assert body["detail"].startswith(not_found)
