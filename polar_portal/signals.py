"""What your own code may listen to.

>>> from django.dispatch import receiver
>>> from polar_portal.signals import invoice_ready
>>> @receiver(invoice_ready)
... def tell_the_customer(polar_order_id, **kwargs): ...

Each is sent after what it tells is committed. A receiver that fails is logged by Django (`django.dispatch`) and harms
nobody else. None carries a token, a signed URL or an e-mail address.
"""

from __future__ import annotations

from django.dispatch import Signal

#: This site has learned something of an order: from a webhook, `polar_sync_orders`, or because somebody looked at it.
#: Arguments: `order` (a `polar_portal.models.Order`), `created` (whether it was not known here before).
order_changed = Signal()

#: An invoice that was not there can be downloaded now, or has been made again after its billing details were changed.
#: Argument: `polar_order_id` (a UUID). Without webhooks it is sent when somebody who waits for it asks again.
invoice_ready = Signal()

#: A signed address of a document was given to somebody, or its PDF was put into a zip for them.
#: Arguments: `user` (None for a script), `polar_order_id` (a UUID), `kind` ("invoice" or "receipt").
document_handed_out = Signal()

#: A webhook delivery was verified and stored, whatever its type; once for each delivery.
#: Arguments: `delivery_id` (its `webhook-id`), `type` (like "order.paid").
webhook_received = Signal()
