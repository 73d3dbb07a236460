"""The sample application: `python -m runbook_lib.sandbox.app NAME --port PORT`.

Environment: DATABASE_URL (libpq, without the password), PGPASSWORD, APP_SHAPE (monolith | services), APP_VERSION,
APP_SPOILED (a release that is never healthy) and SANDBOX_TOKEN, which the estate alone knows and which opens
`/_control` (drain, error injection).
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psycopg
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runbook_lib.sandbox import queries
from runbook_lib.sandbox.store import Connection, Pool, Row, http_status, one

Work = Callable[[Connection, Request], Awaitable[Row | None]]


@dataclass
class Service:
    """One running instance: its name, its shape, and what the drill does to it."""

    name: str
    shape: str
    token: str
    pool: Pool
    version: str = "1"
    spoiled: bool = False
    error_rate: float = 0.0
    latency_s: float = 0.0
    draining: bool = False
    in_flight: int = 0

    def endpoint(self, work: Work, status: int = 200) -> Callable[[Request], Awaitable[Response]]:
        """Wrap a piece of database work as a handler: no row is 404, a refusal is what `http_status` says."""

        async def handle(request: Request) -> Response:
            try:
                async with self.pool.connection() as connection:
                    row = await work(connection, request)
            except psycopg.Error as error:
                code, headers = http_status(error)
                return JSONResponse({"error": str(error).splitlines()[0], "sqlstate": error.sqlstate}, code, headers)
            except (KeyError, ValueError) as error:
                return JSONResponse({"error": f"bad request: {error}"}, 400)
            return JSONResponse(row, status) if row else JSONResponse({"error": "not found"}, 404)

        return handle

    async def health(self, request: Request) -> Response:
        """200 when the database answers and we are not draining."""
        if self.draining:
            return JSONResponse({"status": "draining"}, 503)
        if self.spoiled:
            return JSONResponse({"status": f"release {self.version} is broken"}, 503)
        return await self.endpoint(lambda connection, _: one(connection, "select 'ok' as status"))(request)

    async def control(self, request: Request) -> Response:
        """Drain or injection, for the estate alone."""
        if not hmac.compare_digest(request.headers.get("x-sandbox-token", ""), self.token):
            return JSONResponse({"error": "not found"}, 404)
        if request.method == "POST":
            wanted = await request.json()
            self.error_rate = float(wanted.get("error_rate", self.error_rate))
            self.latency_s = float(wanted.get("latency_s", self.latency_s))
            self.draining = bool(wanted.get("draining", self.draining))
        shown = {"error_rate": self.error_rate, "latency_s": self.latency_s, "draining": self.draining}
        return JSONResponse({**shown, "in_flight": self.in_flight, "version": self.version})

    def routes(self) -> list[Route]:
        """The whole API; a service is asked for its own slice only, because the router says so."""
        shape = self.shape

        def key(request: Request) -> str | None:
            return request.headers.get("idempotency-key")

        def number(request: Request) -> int:
            return int(request.path_params["id"])

        table: list[tuple[str, str, Work, int]] = [
            ("/api/users", "POST", _create(lambda c, b, k: queries.create_user(c, shape, b, k), key), 201),
            ("/api/users/{id:int}", "GET", lambda c, r: queries.read_user(c, number(r)), 200),
            ("/api/users/{id:int}", "PUT", _update(queries.update_user), 200),
            ("/api/users/{id:int}/preferences", "GET", lambda c, r: queries.read_preferences(c, shape, number(r)), 200),
            ("/api/users/{id:int}/preferences", "PUT",
             _update(lambda c, i, b: queries.update_preferences(c, shape, i, b)), 200),
            ("/api/auth/{email}", "GET", lambda c, r: queries.read_login(c, r.path_params["email"]), 200),
            ("/api/orders", "POST", _create(queries.create_order, key), 201),
            ("/api/orders/{id:int}", "GET", lambda c, r: queries.read_order(c, number(r)), 200),
            ("/api/orders/{id:int}", "PUT", _update(queries.update_order), 200),
            ("/api/payments", "POST", _create(queries.create_payment, key), 201),
            ("/api/payments/{id:int}", "GET", lambda c, r: queries.read_payment(c, number(r)), 200),
        ]  # fmt: skip
        api = [Route(path, self.endpoint(work, status), methods=[verb]) for path, verb, work, status in table]
        control = Route("/_control", self.control, methods=["GET", "POST"])
        return [*api, Route("/health", self.health, methods=["GET"]), control]


def _create(make: Callable[[Connection, queries.Body, str | None], Awaitable[Row | None]],
            key: Callable[[Request], str | None]) -> Work:  # fmt: skip
    async def work(connection: Connection, request: Request) -> Row | None:
        return await make(connection, await request.json(), key(request))

    return work


def _update(change: Callable[[Connection, int, queries.Body], Awaitable[Row | None]]) -> Work:
    async def work(connection: Connection, request: Request) -> Row | None:
        return await change(connection, int(request.path_params["id"]), await request.json())

    return work


class Wrapper:
    """Names the server in every response, counts requests in flight, and injects faults into `/api`."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app, self.service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI event stream."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-served-by", self.service.name.encode())]
            await send(message)

        if not scope["path"].startswith("/api"):
            await self.app(scope, receive, named)
            return
        self.service.in_flight += 1
        try:
            await self._serve(scope, receive, named)
        finally:
            self.service.in_flight -= 1

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.service.latency_s:
            await asyncio.sleep(self.service.latency_s)
        if self.service.error_rate and random.random() < self.service.error_rate:
            response = JSONResponse({"error": "injected"}, 500, {"x-injected": "error"})
            await response(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def build(name: str) -> ASGIApp:
    """The application of one instance, configured by the environment."""
    shape = os.environ.get("APP_SHAPE", "monolith" if name == "monolith" else "services")
    service = Service(
        name,
        shape,
        os.environ.get("SANDBOX_TOKEN") or os.urandom(16).hex(),
        Pool(os.environ["DATABASE_URL"]),
        version=os.environ.get("APP_VERSION", "1"),
        spoiled=bool(os.environ.get("APP_SPOILED")),
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await service.pool.close()

    return Wrapper(Starlette(routes=service.routes(), lifespan=lifespan), service)


def main() -> None:
    """Serve until SIGTERM."""
    import uvicorn  # here: the routes are importable without a server

    parser = argparse.ArgumentParser(prog="python -m runbook_lib.sandbox.app")
    parser.add_argument("name", help="monolith, or SERVICE@source, or SERVICE@target")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    uvicorn.run(
        build(options.name),
        host="127.0.0.1",
        port=options.port,
        log_level="warning",
        access_log=False,
        timeout_keep_alive=120,  # longer than Envoy keeps idle connections: it closes first, no request is cut
        timeout_graceful_shutdown=5,
    )


if __name__ == "__main__":
    main()
