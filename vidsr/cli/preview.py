"""``vidsr preview``: see a clip upscaled, live in a browser, or one moment of it as a picture."""

from __future__ import annotations

import os
import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidsr.cli.job_options import job_fields, with_options_of
from vidsr.cli.upscale import upscale
from vidsr.errors import OptionsError
from vidsr.job import AUTO, Job, parse_time

if TYPE_CHECKING:
    from vidsr.preview.clip import Clip

__all__ = ["preview"]

_MODEL = "Model"
_SERVER = "Server"
_STILL = "One moment as a picture"


@with_options_of(
    upscale,
    "scale model_range backend device precision fast threads tile deinterlace hwaccel video_stream"
    " allow_network".split(),
)
def preview(
    source: Annotated[str, typer.Argument(help="A video, a picture, or a pattern like shot_%04d.png.")],
    model: Annotated[
        list[str] | None,
        typer.Option(
            "-m",
            "--model",
            help="Where to begin: auto, a network, a model's name, or a file.onnx. With --still several.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(help="0: any that is free.", min=0, max=65535, rich_help_panel=_SERVER)
    ] = 0,
    listen: Annotated[
        str | None,
        typer.Option(
            help="Listen on HOST or HOST:PORT, for other machines as well. Default: this machine only."
            " Nothing is encrypted: ssh -L is the safer way.",
            rich_help_panel=_SERVER,
        ),
    ] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Only print the address.", rich_help_panel=_SERVER)
    ] = False,
    still: Annotated[
        str | None,
        typer.Option(
            help="No server: this moment by each -m and by bicubic, side by side.", rich_help_panel=_STILL
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Of --still: a .png or .jpg.", rich_help_panel=_STILL),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("-y", "--overwrite", help="Replace it.", rich_help_panel=_STILL)
    ] = False,
    **options: Any,
) -> None:
    """Watch a clip upscaled in real time, beside its source, in a browser.

    The page is served to this machine alone, under an address that only you know. Ctrl-C ends it.
    """
    models = model or [AUTO]
    if still is None and (output is not None or overwrite or len(models) > 1):
        raise OptionsError("-o, -y and a second -m belong to --still", hint="add --still 12.5")
    job = Job(source=source, **job_fields(options | {"model": models[0]}))
    from vidsr.preview.clip import Clip

    if still is not None:
        from vidsr.preview.still import write_still

        written = write_still(Clip(job), models, parse_time(still), output, overwrite=overwrite)
        typer.echo(f"wrote {written}")
        return
    absent = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if absent:
        raise OptionsError(f"{' and '.join(absent)} is missing", hint="run: pip install 'vidsr[preview]'")
    _serve(Clip(job), listen, port, browser=not no_browser)


def _serve(clip: Clip, listen: str | None, port: int, *, browser: bool) -> None:
    from vidsr.preview.access import Access, parse_listen
    from vidsr.preview.server import Preview
    from vidsr.preview.serving import listening, serve

    host, asked = parse_listen(listen) if listen is not None else ("127.0.0.1", 0)
    access = Access(host)
    preview = Preview(clip, access)
    try:
        preview.prepare()
        listener = listening(host, asked or port)
    except BaseException:
        preview.close()
        raise
    number = listener.getsockname()[1]
    name = socket.gethostname() if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound
    address = f"http://{f'[{name}]' if ':' in name else name}:{number}/{access.token}/"

    def ready() -> None:
        typer.echo(f"preview of {clip.name}: {address}")
        if browser and _desktop():
            import webbrowser

            webbrowser.open(address)
        elif listen is None:
            typer.echo(f"from another machine: ssh -L {number}:127.0.0.1:{number} {socket.gethostname()}")
        typer.echo("Ctrl-C ends it")
        sys.stdout.flush()

    try:
        serve(preview, listener, ready=ready)
    except KeyboardInterrupt:
        return  # how a server is ended


def _desktop() -> bool:
    """Tell whether there is a screen with a browser in front of the user."""
    if os.environ.get("SSH_CONNECTION"):
        return False
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
