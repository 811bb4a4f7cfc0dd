"""The server: a page, its clip as a stream from any second on, and exports. Starlette on uvicorn.

One answer is one play: a seek, another model or another scale is another request, and closing the connection
ends the play. Nothing that a browser says becomes a path.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import partial
from importlib.resources import files
from time import monotonic
from typing import Any

from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from vidsr.errors import OptionsError, VidsrError
from vidsr.job import AUTO, parse_scale
from vidsr.preview.access import HEADERS, Access
from vidsr.preview.clip import Clip, described
from vidsr.preview.export import Exports, ExportWish
from vidsr.preview.networks import Networks, kmac
from vidsr.preview.outlets import BOUNDARY
from vidsr.preview.player import Play, Wish
from vidsr.preview.serving import Streamed

__all__ = ["MOST_PLAYS", "Preview"]

MOST_PLAYS = 4
"""At once: more tabs than this would only take each other's time."""
IDLE_S = 60.0
"""After which networks that nobody uses are closed."""
_MOST_BODY = 4096
_FILES = {
    "": ("index.html", "text/html"),
    "player.js": ("player.js", "text/javascript"),
    "media.js": ("media.js", "text/javascript"),
    "export.js": ("export.js", "text/javascript"),
    "view.js": ("view.js", "text/javascript"),
    "style.css": ("style.css", "text/css"),
}


class Preview:
    """All that a server has: the clip, networks, plays, exports.

    Attributes:
        app: The ASGI application.
        access: Who may ask.
    """

    def __init__(self, clip: Clip, access: Access) -> None:
        """Make ready.

        Args:
            clip: What is watched.
            access: Who may ask.
        """
        self.clip, self.access = clip, access
        self.networks = Networks(clip)
        self.exports = Exports(clip)
        self._plays: set[Play] = set()
        self._ended = monotonic()
        self._lock = threading.Lock()
        page = files("vidsr.preview") / "page"
        self._files = {name: ((page / file).read_bytes(), kind) for name, (file, kind) in _FILES.items()}
        guard = self._guarded
        self.app = Starlette(
            routes=[
                Route("/{token}/info", guard(self._info)),
                Route("/{token}/stream", guard(self._stream)),
                Route("/{token}/export", guard(self._export), methods=["GET", "POST", "DELETE"]),
                Route("/{token}/{name}", guard(self._file)),
                Route("/{token}/", guard(self._file)),
                Route("/{rest:path}", guard(self._nothing)),
            ]
        )

    @property
    def plays(self) -> int:
        """How many are going on."""
        return len(self._plays)

    def prepare(self) -> None:
        """Open the first network, so that the page need not wait, and errors come before it opens.

        Raises:
            VidsrError: The model, the backend or the options are wrong.
        """
        with self.networks.borrowed(self.clip.job.model, self.clip.scale):
            pass

    def close(self) -> None:
        """End plays and exports; free everything."""
        for play in list(self._plays):
            play.close()
        self.exports.cancel()
        self.networks.close()

    def begin(self, wish: Wish) -> Play:
        """Begin a play.

        Raises:
            OptionsError: There are too many.
        """
        with self._lock:
            if len(self._plays) >= MOST_PLAYS:
                raise OptionsError(f"{MOST_PLAYS} are watching already", hint="close a tab")
            play = Play(self.clip, self.networks, wish)
            self._plays.add(play)
        return play

    def end(self, play: Play) -> None:
        """End a play."""
        play.close()
        with self._lock:
            self._plays.discard(play)
            self._ended = monotonic()

    def rest(self) -> None:
        """Close networks, if nobody has watched for long."""
        if not self._plays and monotonic() - self._ended >= IDLE_S:
            self.networks.rest()

    def _guarded(self, answer: Callable[[Request], Any]) -> Callable[[Request], Any]:
        async def guarded(request: Request) -> Any:
            headers = {name: request.headers[name] for name in request.headers}
            given = request.path_params.get("token", "")
            if refused := self.access.refused(given, request.method, headers):
                return PlainTextResponse(f"vidsr: {refused}\n", status_code=403, headers=HEADERS)
            try:
                return await answer(request)
            except VidsrError as error:
                code = 409 if isinstance(error, OptionsError) else 500
                return JSONResponse({"error": str(error)}, status_code=code, headers=HEADERS)

        return guarded

    async def _nothing(self, _: Request) -> Response:
        return PlainTextResponse("vidsr: there is nothing here\n", status_code=404, headers=HEADERS)

    async def _file(self, request: Request) -> Response:
        found = self._files.get(request.path_params.get("name", ""))
        if found is None:
            return await self._nothing(request)
        return Response(found[0], media_type=found[1], headers=HEADERS)

    async def _info(self, _: Request) -> Response:
        models: list[dict[str, Any]] = [
            {"id": m.spec.id, "scale": m.spec.scale, "about": m.spec.description, "kmac": round(kmac(m), 1)}
            for m in self.networks.offered()
        ]
        models = [m for m in models if math.isfinite(m["kmac"])]
        facts = described(self.clip) | {
            "models": models,
            "scales": [str(s) for s in self.networks.scales()],
            "model": self.clip.job.model,
            "auto": AUTO,
            "scale": str(self.clip.scale),
        }
        return JSONResponse(facts, headers=HEADERS)

    async def _stream(self, request: Request) -> Any:
        wish = self._wish(request.query_params)
        play = self.begin(wish)
        kind = f"multipart/x-mixed-replace; boundary={BOUNDARY}" if wish.form == "mjpeg" else "video/mp4"
        return Streamed(play, kind, self.end)

    async def _export(self, request: Request) -> Response:
        if request.method == "DELETE":
            return JSONResponse(await to_thread.run_sync(self.exports.cancel), headers=HEADERS)
        if request.method == "GET":
            return JSONResponse(self.exports.told(), headers=HEADERS)
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > _MOST_BODY:
                raise OptionsError("this is too long for an export's settings")
        wish = self._export_wish(body)
        return JSONResponse(await to_thread.run_sync(partial(self.exports.start, wish)), headers=HEADERS)

    def _wish(self, asked: Mapping[str, str]) -> Wish:
        """Return what a query asks for.

        Raises:
            OptionsError: It is wrong.
        """
        model, scale = self._model(asked.get("model", "")), self._scale(asked.get("scale", ""))
        count = asked.get("count")
        if count not in (None, "1"):
            raise OptionsError("count is 1, or is left out")
        form = asked.get("form", "mp4")
        if form not in ("mp4", "mjpeg"):
            raise OptionsError("form is mp4 or mjpeg")
        return Wish(
            at=_seconds(asked.get("at", "0")),
            model=model,
            scale=scale,
            count=1 if count else None,
            back=asked.get("back") == "1",
            form="mjpeg" if form == "mjpeg" else "mp4",
        )

    def _export_wish(self, body: bytes) -> ExportWish:
        try:
            asked = json.loads(body)
        except ValueError:
            asked = None
        if not isinstance(asked, dict):
            raise OptionsError("an export's settings are a JSON object")
        limits = [asked.get(name) for name in ("start", "end")]
        start, end = (None if limit is None else _seconds(str(limit)) for limit in limits)
        if end is not None and end <= (start or 0):
            raise OptionsError("the range to export is empty")
        return ExportWish(
            model=self._model(str(asked.get("model", ""))),
            scale=self._scale(str(asked.get("scale", ""))),
            start=start,
            end=end,
            overwrite=asked.get("overwrite") is True,
        )

    def _model(self, name: str) -> str:
        offered = (AUTO, self.clip.job.model, *(m.spec.id for m in self.networks.offered()))
        if name and name not in offered:
            raise OptionsError("there is no such model to choose")
        return name or self.clip.job.model

    def _scale(self, text: str) -> Fraction:
        scale = parse_scale(text) if text else self.clip.scale
        if scale not in self.networks.scales():
            raise OptionsError("there is no such scale to choose")
        return scale


def _seconds(text: str) -> float:
    """Return a second of the clip.

    Raises:
        OptionsError: It is no number, or negative.
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < 1e7:
        raise OptionsError("a position is a number of seconds")
    return seconds
