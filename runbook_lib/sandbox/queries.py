"""What the sample application does with its tables, in its two shapes.

The monolith keeps preferences as columns of `users`; the services have the table `preferences`. All else is
the same text in both, so that a service can serve its slice of the monolith, of views on it, or of its own database.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb

from runbook_lib.sandbox.store import Connection, Row, every, one

Body = Mapping[str, Any]

_USER = """select u.id, u.email, u.full_name, u.status::text, u.credit::text, u.created_at::text, p.bio, p.tags
from users u left join profiles p on p.user_id = u.id where u.id = %s"""
_READ_PREFERENCES = {
    "monolith": """select id as user_id, coalesce(theme, 'light') as theme,
                   coalesce(notifications_enabled, true) as notifications from users where id = %s""",
    "services": "select user_id, theme, notifications from preferences where user_id = %s",
}
_WRITE_PREFERENCES = {
    "monolith": "update users set theme = %s, notifications_enabled = %s where id = %s returning id",
    "services": """insert into preferences (theme, notifications, user_id) values (%s, %s, %s)
                   on conflict (user_id) do update set theme = excluded.theme, notifications = excluded.notifications
                   returning user_id as id""",
}


async def read_user(connection: Connection, user_id: int) -> Row | None:
    """One user with the profile."""
    return await one(connection, _USER, user_id)


async def read_login(connection: Connection, email: str) -> Row | None:
    """What a login needs."""
    return await one(connection, "select id, email, status::text from users where lower(email) = lower(%s)", email)


async def create_user(connection: Connection, shape: str, body: Body, key: str | None) -> Row | None:
    """Make user, profile and preferences; the same `key` again returns the user made the first time."""
    async with connection.transaction():
        made = await one(
            connection,
            """insert into users (email, full_name, request_id) values (%s, %s, %s)
               on conflict (request_id) do nothing returning id""",
            body["email"], body["full_name"], key,
        )  # fmt: skip
        if made is None:
            return await one(connection, "select id from users where request_id = %s", key)
        await connection.execute("insert into profiles (user_id, bio) values (%s, %s)", (made["id"], body.get("bio")))
        wanted = (body.get("theme", "light"), body.get("notifications", True), made["id"])
        await connection.execute(_WRITE_PREFERENCES[shape].encode(), wanted)
    return made


async def update_user(connection: Connection, user_id: int, body: Body) -> Row | None:
    """Set name and status; absolute values, so a repetition is harmless."""
    return await one(
        connection,
        "update users set full_name = %s, status = %s where id = %s returning id",
        body["full_name"], body["status"], user_id,
    )  # fmt: skip


async def read_preferences(connection: Connection, shape: str, user_id: int) -> Row | None:
    """One user's settings, with the same defaults in both shapes."""
    return await one(connection, _READ_PREFERENCES[shape], user_id)


async def update_preferences(connection: Connection, shape: str, user_id: int, body: Body) -> Row | None:
    """Set one user's settings."""
    return await one(connection, _WRITE_PREFERENCES[shape], body["theme"], body["notifications"], user_id)


async def read_order(connection: Connection, order_id: int) -> Row | None:
    """One order with its items."""
    order = await one(
        connection,
        """select id, user_id, status::text, placed_at::text, currency, total::text, details, note
           from orders where id = %s""",
        order_id,
    )
    if order:
        order["items"] = await every(
            connection,
            """select line_no, sku, quantity, unit_price::text, line_total::text from order_items
               where order_id = %s order by line_no""",
            order_id,
        )
    return order


async def create_order(connection: Connection, body: Body, key: str | None) -> Row | None:
    """Make an order and its items; the same `key` again returns the order made the first time."""
    async with connection.transaction():
        made = await one(
            connection,
            """insert into orders (user_id, currency, total, details, note, request_id) values (%s, %s, %s, %s, %s, %s)
               on conflict (request_id) do nothing returning id""",
            body["user_id"], body["currency"], body["total"], Jsonb(body.get("details", {})), body.get("note"), key,
        )  # fmt: skip
        if made is None:
            return await one(connection, "select id from orders where request_id = %s", key)
        lines = [
            (made["id"], line, item["sku"], item["quantity"], item["unit_price"])
            for line, item in enumerate(body["items"], start=1)
        ]
        async with connection.cursor() as cursor:
            await cursor.executemany(
                "insert into order_items (order_id, line_no, sku, quantity, unit_price) values (%s, %s, %s, %s, %s)",
                lines,
            )
    return made


async def update_order(connection: Connection, order_id: int, body: Body) -> Row | None:
    """Set status and note."""
    return await one(
        connection,
        "update orders set status = %s, note = %s where id = %s returning id",
        body["status"], body.get("note"), order_id,
    )  # fmt: skip


async def read_payment(connection: Connection, payment_id: int) -> Row | None:
    """One payment with the number of its transactions."""
    return await one(
        connection,
        """select id, order_id, amount::text, fee::text, method::text, paid_at::text,
           (select count(*) from transactions t where t.payment_id = p.id) as transactions
           from payments p where id = %s""",
        payment_id,
    )


async def create_payment(connection: Connection, body: Body, key: str | None) -> Row | None:
    """Make a payment and its transaction; the same `key` again returns the payment made the first time."""
    async with connection.transaction():
        made = await one(
            connection,
            """insert into payments (order_id, amount, method, request_id) values (%s, %s, %s, %s)
               on conflict (request_id) do nothing returning id""",
            body["order_id"], body["amount"], body["method"], key,
        )  # fmt: skip
        if made is None:
            return await one(connection, "select id from payments where request_id = %s", key)
        await connection.execute(
            "insert into transactions (payment_id, kind, amount) values (%s, 'authorize', %s)",
            (made["id"], body["amount"]),
        )
    return made
