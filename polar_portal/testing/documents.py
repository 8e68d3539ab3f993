"""What the fake's invoices and receipts say."""

from __future__ import annotations

from polar_portal.testing.pdf import render
from polar_portal.testing.records import FakeOrder

# Currencies without a smaller unit: an amount of 500 is ¥500, not ¥5.00.
_WHOLE = frozenset("bif clp djf gnf jpy kmf krw mga pyg rwf ugx vnd vuv xaf xof xpf".split())


def invoice_pdf(order: FakeOrder) -> bytes:
    """Return the invoice of ``order`` with the billing details it has now."""
    return render(
        [
            "Invoice",
            f"Invoice number {order.invoice_number}",
            f"Date of issue {order.created_at:%Y-%m-%d}",
            "",
            "Bill to",
            *_billing_lines(order),
            "",
            *_amount_lines(order),
        ]
    )


def receipt_pdf(order: FakeOrder) -> bytes:
    """Return the receipt of ``order``, with what has been refunded so far."""
    lines = [
        "Receipt",
        f"Receipt number {order.receipt_number}",
        f"Invoice number {order.invoice_number}",
        f"Date paid {order.created_at:%Y-%m-%d}",
        "",
        *_billing_lines(order),
        "",
        *_amount_lines(order),
    ]
    if order.refunded_amount:
        lines.append(f"Refunded {money(order.refunded_amount + order.refunded_tax_amount, order.currency)}")
    return render(lines)


def money(amount: int, currency: str) -> str:
    """Write an amount given in the currency's smallest unit: ``58.80 USD``."""
    number = str(amount) if currency.lower() in _WHOLE else f"{amount / 100:.2f}"
    return f"{number} {currency.upper()}"


def _billing_lines(order: FakeOrder) -> list[str]:
    lines = [order.billing_name or ""]
    address = order.billing_address
    if address is not None:
        city = " ".join(part for part in (address["postal_code"], address["city"], address["state"]) if part)
        lines += [line for line in (address["line1"], address["line2"], city, address["country"]) if line]
    return lines


def _amount_lines(order: FakeOrder) -> list[str]:
    return [
        f"{order.product.name} {money(order.amount, order.currency)}",
        f"Tax {money(order.tax_amount, order.currency)}",
        f"Total {money(order.total_amount, order.currency)}",
    ]
