"""``vidsr doctor``: what this machine can do, and why it cannot do the rest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from vidsr.backends import Backend

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
    "tensorrt-rtx-cu13": "tensorrt-rtx",
    "pycuda": "tensorrt",
    "cuda-bindings": "tensorrt",
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

    from vidsr.backends import backend_names, get_backend
    from vidsr.cores import usable_cores
    from vidsr.errors import OptionsError
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
        "tensorrt-rtx-cu13",
        "pycuda",
        "cuda-bindings",
    ):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            extra = _EXTRAS.get(package)
            versions[package] = "absent" + (f"; pip install 'vidsr[{extra}]'" if extra else "")
    backends = {}
    for name in backend_names():
        try:
            state = get_backend(name).availability()
        except OptionsError:  # a plug-in that is broken: told of under its own heading
            continue
        precisions = f"; {', '.join(state.precisions)}" if state.precisions else ""
        if "int8" in state.precisions:
            precisions += _int8(get_backend(name))
        # Of a driver that is not there the line of the GPUs tells.
        detail = state.detail.partition("; install")[0] if state.expected else state.detail
        backends[name] = ("" if state.usable else "absent: ") + detail + precisions
    return {
        "machine": {
            "python": platform.python_version(),
            "system": platform.platform(),
            "cores": f"{usable_cores()} usable",
            "gpus": _gpus(),
        },
        "packages": versions,
        "backends": backends,
        "ffmpeg": describe_library(_ENCODERS),
        "models": {m.spec.id: str(m.path) for m in list_models()}
        or {"none": f"looked in {', '.join(map(str, engine_folders())) or 'no folder'}"},
        **_plugins(),
        "cache": {
            "workers": described(
                "workers.json", "how many workers were the fastest", "a batch with --workers auto"
            ),
            "threads": described("budgets.json", "which threads were the fastest", "a long job"),
            "backends": described("backends.json", "which of a GPU's backends was the faster", "auto"),
            "engines": _engines(),
        },
    }


def _int8(backend: Backend) -> str:
    """Return what is special about a backend's int8 on this machine; nothing where it is as it should be."""
    from vidsr.backends import SessionOptions
    from vidsr.errors import BackendUnavailableError

    try:
        resolved = backend.resolve(SessionOptions(precision="int8"))
    except BackendUnavailableError as error:
        return f" (int8 is not used: {error.message})"
    exact = resolved.get("int8_sums", "integers") == "integers"
    return "" if exact else " (int8 summed in floats: no faster than f32, this processor has no VNNI)"


def _gpus() -> str:
    from vidsr.backends.cuda.probing import find_cuda

    found = find_cuda()
    described = (
        f"cuda:{one.ordinal} {one.name}, compute capability {one.capability[0]}.{one.capability[1]},"
        f" {one.memory_bytes >> 20} MiB"
        for one in found.devices
    )
    return f"{'; '.join(described)}; driver {found.driver}" if found.devices else f"none: {found.why}"


def _engines() -> str:
    from vidsr.backends.engine_cache import EngineCache
    from vidsr.errors import OutputError

    try:
        cache = EngineCache()
        return f"{cache.folder}: {len(list(cache.all()))} engines; 'vidsr engines list' tells more"
    except OutputError as error:
        return error.message


def _plugins() -> dict[str, dict[str, str]]:
    """Return what other packages add, and which of it is broken; nothing where there is none."""
    from vidsr import plugins

    found = {
        f"{group.removeprefix('vidsr.')} {name}": package
        for group in (plugins.MODELS, plugins.BACKENDS, plugins.HOSTS)
        for name, package in plugins.packages(group).items()
    }
    for one in plugins.problems():
        found[f"{one.group.removeprefix('vidsr.')} {one.name}"] = f"left out: {one.reason} ({one.package})"
    return {"plug-ins": found} if found else {}
