"""``vidsr doctor``: what this machine can do, and why it cannot do the rest."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

__all__ = ["doctor"]

_ENCODERS = (
    "libx264 libx265 libsvtav1 libvpx-vp9 ffv1 prores_ks h264_nvenc hevc_nvenc av1_nvenc"
    " png mjpeg tiff libwebp"
).split()

_EXTRAS = {
    "torch": "train",
    "watchdog": "watch",
    "ray": "ray",
    "tensorrt": "tensorrt",
    "pycuda": "tensorrt",
}
"""Which extra of vidsr brings a package."""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List versions, backends, devices, encoders and models, and say why something is absent."""
    found = _examine()
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    for heading, entries in found.items():
        typer.echo(heading)
        for name, text in entries.items():
            typer.echo(f"  {name:14} {text}")


def _examine() -> dict[str, dict[str, Any]]:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from vidsr.backends import BACKENDS, get_backend
    from vidsr.cores import usable_cores
    from vidsr.models.lookup import engine_folders, list_models
    from vidsr.remembered import described
    from vidsr.video.library import describe_library

    versions = {}
    for package in (
        "vidsr",
        "av",
        "openvino",
        "onnx",
        "numpy",
        "torch",
        "watchdog",
        "ray",
        "tensorrt",
        "pycuda",
    ):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            extra = _EXTRAS.get(package)
            versions[package] = "absent" + (f"; pip install 'vidsr[{extra}]'" if extra else "")
    backends = {}
    for name in BACKENDS:
        state = get_backend(name).availability()
        precisions = f"; {', '.join(state.precisions)}" if state.precisions else ""
        backends[name] = ("" if state.usable else "absent: ") + state.detail + precisions
    return {
        "machine": {
            "python": platform.python_version(),
            "system": platform.platform(),
            "cores": f"{usable_cores()} usable",
        },
        "packages": versions,
        "backends": backends,
        "ffmpeg": describe_library(_ENCODERS),
        "models": {m.spec.id: str(m.path) for m in list_models()}
        or {"none": f"looked in {', '.join(map(str, engine_folders())) or 'no folder'}"},
        "cache": {
            "workers": described(
                "workers.json", "how many workers were the fastest", "a batch with --workers auto"
            ),
            "threads": described("budgets.json", "which threads were the fastest", "a long job"),
        },
    }
