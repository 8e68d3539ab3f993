"""How our tables are used in the host's database: which may refuse, may be in a transaction, may have a replica."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from django.core.exceptions import SynchronousOnlyOperation
from django.db import Error as DatabaseFailure
from django.db import connections, router, transaction
from django.db.models import Model, QuerySet
from django.dispatch import Signal
from django.utils import timezone

from polar_portal.conf import conf
from polar_portal.models import CustomerSession, Order

M = TypeVar("M", bound=Model)

logger = logging.getLogger(__name__)


@contextmanager
def tolerating_database(what: str) -> Iterator[None]:
    """Do without our tables when the database refuses, and leave the host's transaction usable."""
    alias = router.db_for_write(CustomerSession)
    try:
        with ExitStack() as savepoint:
            if connections[alias].in_atomic_block:
                with suppress(DatabaseFailure):  # then what follows fails too, and is done without
                    savepoint.enter_context(transaction.atomic(using=alias))
            yield
    except (DatabaseFailure, SynchronousOnlyOperation) as error:
        logger.warning("%s (%s).", what, type(error).__name__)


def as_written(model: type[M]) -> QuerySet[M]:
    """Return the rows of where they are written: a replica may not have what was written a moment ago."""
    return model._default_manager.using(router.db_for_write(model))


def announce(signal: Signal, sender: type, **told: Any) -> None:
    """Send one of our signals, once what it tells is committed."""
    if not signal.has_listeners(sender):
        return
    send = partial(signal.send_robust, sender, **told)
    alias = router.db_for_write(Order)
    if connections[alias].in_atomic_block:
        transaction.on_commit(send, using=alias)
    else:
        send()


def to_field(moment: datetime) -> datetime:
    """Return an aware datetime the way Django's fields want it, which USE_TZ decides."""
    return moment if conf.use_tz else timezone.make_naive(moment)


def from_field(moment: datetime) -> datetime:
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
