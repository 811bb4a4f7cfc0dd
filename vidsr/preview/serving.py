"""Serving: sockets, plays as answers, and an orderly end."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable
from typing import Protocol

import anyio
import uvicorn
from anyio import to_thread
from starlette.types import ASGIApp, Receive, Scope, Send

from vidsr.errors import OptionsError
from vidsr.preview.access import HEADERS
from vidsr.preview.player import Play

__all__ = ["STALLED_S", "Streamed", "listening", "serve"]

STALLED_S = 15.0
"""After which a reader that takes nothing is given up."""


class _Ended(Protocol):
    @property
    def app(self) -> ASGIApp:
        """The ASGI application."""

    def rest(self) -> None:
        """Free what nobody has used for long."""

    def close(self) -> None:
        """End everything."""


class Streamed:
    """The answer that a play is; it ends the play when the reader is gone."""

    def __init__(self, play: Play, kind: str, end: Callable[[Play], None]) -> None:
        """Make ready.

        Args:
            play: What is sent.
            kind: Its media type.
            end: Called with the play at the end.
        """
        self._play, self._kind, self._end = play, kind, end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await self._send(receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(self._end, self._play)

    async def _send(self, receive: Receive, send: Send) -> None:
        headers = {**HEADERS, "Content-Type": self._kind, "X-Accel-Buffering": "no"}
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                group.cancel_scope.cancel()

            group.start_soon(watch)
            with anyio.move_on_after(STALLED_S) as patience:
                await send({"type": "http.response.start", "status": 200, "headers": raw})
                while True:
                    patience.deadline = math.inf  # the next picture may take its time, the reader may not
                    chunk = await to_thread.run_sync(next, self._play.chunks, None, abandon_on_cancel=True)
                    patience.deadline = anyio.current_time() + STALLED_S
                    if chunk is None:
                        break
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
            group.cancel_scope.cancel()


class _Server(uvicorn.Server):
    """Says when it answers, and ends plays before it waits for their connections."""

    def __init__(self, config: uvicorn.Config, preview: _Ended, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._preview, self._ready = preview, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        await to_thread.run_sync(self._ready)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await to_thread.run_sync(self._preview.close)
        await super().shutdown(sockets)

    async def on_tick(self, counter: int) -> bool:
        if counter % 50 == 0:  # every five seconds
            self._preview.rest()
        return await super().on_tick(counter)


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        OptionsError: The address is taken, or none of this machine's.
    """
    try:
        kind = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(kind[0], kind[1])
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(kind[4])
            made.listen(128)
        except BaseException:
            made.close()
            raise
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OptionsError(
            f"cannot listen on {host}:{port} ({reason})", hint="give another --port"
        ) from error
    return made


def serve(preview: _Ended, listener: socket.socket, *, ready: Callable[[], None] = lambda: None) -> None:
    """Serve until a signal comes; then free everything.

    Args:
        preview: What is served.
        listener: From `listening`; is closed at the end.
        ready: Called once the server answers.
    """
    config = uvicorn.Config(
        preview.app,
        log_config=None,
        log_level="error",
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=5,
        timeout_keep_alive=15,
        h11_max_incomplete_event_size=16384,
        limit_concurrency=200,
        ws="none",
    )
    try:
        _Server(config, preview, ready).run(sockets=[listener])
    finally:
        preview.close()
        listener.close()
