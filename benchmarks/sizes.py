"""9. What is kept: bytes for one address in Redis, one session and one order in PostgreSQL."""

from __future__ import annotations

import secrets
import time
import uuid

from benchmarks import stage
from benchmarks.growth import ORDERS, SESSIONS, fill
from benchmarks.report import Row, say

#: As S3 signs it with a role's credentials, which have a token of nearly a thousand characters.
SIGNED = f"https://s3.example/polar-customer-invoices/Invoice.pdf?X-Amz-Security-Token={'t' * 900}&X-Amz-Signature="


def rows(quick: bool) -> list[Row]:
    return [*redis(2_000), *postgres(10_000 if quick else 100_000)]


def redis(number: int) -> list[Row]:
    if not stage.answers(stage.REDIS_URL, 6379):
        say("  Redis does not answer: not measured.")
        return []
    from django.core.cache.backends.redis import RedisCache

    location = stage.redis_cache().replace("rediscache", "redis").partition("?")[0]
    cache = RedisCache(location, {})
    client = cache._cache.get_client()
    keys = [f"polar_portal:1:{secrets.token_hex(32)}:invoice:{uuid.uuid4().hex}" for _ in range(number)]
    before = client.info("memory")["used_memory"]
    for key in keys:
        value = {"url": SIGNED + secrets.token_hex(32), "expires_at": time.time() + 600, "fetched_at": time.time()}
        cache.set(key, value, 60)
    added = client.info("memory")["used_memory"] - before
    cache.delete_many(keys)
    return [Row("one address in Redis", f"{added / number:.0f} bytes, for nine minutes at most")]


def postgres(number: int) -> list[Row]:
    if not stage.answers(stage.POSTGRES_URL, 5432):
        say("  PostgreSQL does not answer: not measured.")
        return []
    import psycopg

    with stage.database(stage.POSTGRES_URL) as url, psycopg.connect(url, autocommit=True) as connection:
        found = []
        for name, statement, table in (("session", SESSIONS, "customersession"), ("order", ORDERS, "order")):
            connection.execute(fill(statement, 1, number))
            size = connection.execute(f"SELECT pg_total_relation_size('polar_portal_{table}')").fetchone()
            assert size
            found.append(Row(f"one {name} in PostgreSQL, with its indexes", f"{size[0] / number:.0f} bytes"))
        return found
