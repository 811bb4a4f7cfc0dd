"""From the kernels' sources to code for a GPU: by NVRTC at first use, then from a folder.

NVRTC needs neither a GPU nor a driver. A file in the folder begins with the digest of what follows; one that
is cut or changed is made again.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vidsr.atomic import write_atomically
from vidsr.errors import EngineBuildError, OutputError
from vidsr.kernels.cuda.plan import Network, Tiling, shared_bytes, tiling

__all__ = [
    "APART",
    "FUSED",
    "Compiled",
    "build",
    "compiled",
    "compiled_apart",
    "missing",
    "options_for",
    "source",
]

_HERE = Path(__file__).parent
FUSED = ("device.cuh", "samples.cuh", "tile.cuh", "sweep.cuh", "ecbsr.cu", "enlarge.cu")
"""Files of the fused kernel, in their order."""
APART = ("device.cuh", "samples.cuh", "apart.cu")
"""Of what takes a decoder's surfaces apart."""
_INSTALL = "pip install cuda-bindings nvidia-cuda-nvrtc"


@dataclass(frozen=True, slots=True)
class Compiled:
    """Both kernels, for a network, a kind of samples and a GPU."""

    cubin: bytes
    tiling: Tiling


@cache
def missing() -> str:
    """Return why nothing can be compiled here and what would change that, one line; "": it can."""
    try:
        from cuda.bindings import nvrtc
    except ImportError:
        return f"the package cuda-bindings is not installed; {_INSTALL}"
    try:
        _checked(nvrtc.nvrtcVersion())
    except Exception as error:  # its own kinds, by release: the library is not found, or not loaded
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        return f"NVRTC is not there ({first}); {_INSTALL}"
    return ""


def source(files: tuple[str, ...] = FUSED) -> str:
    """Return sources as one text."""
    return "\n".join((_HERE / name).read_text(encoding="utf-8") for name in files)


def options_for(
    network: Network, sample_bytes: int, capability: tuple[int, int]
) -> tuple[Tiling, tuple[str, ...]]:
    """Return the tiles and NVRTC's options.

    Args:
        network: What of a stack decides the code.
        sample_bytes: 1 or 2.
        capability: Of the GPU.

    Raises:
        EngineBuildError: No tile fits its shared memory.
    """
    tiles = tiling(network, shared_bytes(capability))
    if tiles is None:
        raise EngineBuildError(
            f"{network.depth} convolutions of {network.features} features do not fit the shared memory of"
            f" this GPU (compute capability {_dotted(capability)})",
            stage="inference",
            hint="use --backend auto",
        )
    defines = {
        "FEATURES": network.features,
        "DEPTH": network.depth,
        "SCALE": network.scale,
        "BYTES": sample_bytes,
        **tiles.defines,
    }
    return tiles, _options(capability, defines)


def compiled(
    network: Network, sample_bytes: int, capability: tuple[int, int], folder: Path | None
) -> Compiled:
    """Return the kernels, from `folder` where they were compiled before.

    Args:
        network: What of a stack decides the code.
        sample_bytes: 1 or 2.
        capability: Of the GPU.
        folder: Where they are kept; None: nowhere.

    Raises:
        EngineBuildError: NVRTC is not there, does not know the GPU or refuses the source; or no tile fits.
    """
    tiles, options = options_for(network, sample_bytes, capability)
    return Compiled(_code("the fused kernel", FUSED, options, capability, folder), tiles)


def compiled_apart(sample_bytes: int, capability: tuple[int, int], folder: Path | None) -> bytes:
    """Return the code of `apart`, from `folder` where it was compiled before.

    Args:
        sample_bytes: 1 or 2.
        capability: Of the GPU.
        folder: Where it is kept; None: nowhere.

    Raises:
        EngineBuildError: NVRTC is not there, does not know the GPU or refuses the source.
    """
    options = _options(capability, {"BYTES": sample_bytes})
    return _code("what takes frames of NVDEC apart", APART, options, capability, folder)


def _options(capability: tuple[int, int], defines: dict[str, int]) -> tuple[str, ...]:
    architecture = f"--gpu-architecture=sm_{capability[0]}{capability[1]}"
    return (architecture, "-std=c++17", *(f"-D{name}={value}" for name, value in defines.items()))


def _code(
    what: str,
    files: tuple[str, ...],
    options: tuple[str, ...],
    capability: tuple[int, int],
    folder: Path | None,
) -> bytes:
    """Return code for a GPU, from `folder` or compiled."""
    if why := missing():
        raise EngineBuildError(f"{what} cannot be compiled: {why}", stage="inference")
    text = source(files)
    from cuda.bindings import nvrtc

    version = ".".join(str(part) for part in _checked(nvrtc.nvrtcVersion()))
    parts = "\0".join((version, *options, text))
    name = f"{Path(files[-1]).stem}-{hashlib.sha256(parts.encode()).hexdigest()[:32]}.cubin"
    path = None if folder is None else folder / name
    if path is not None and (kept := _kept(path)) is not None:
        return kept
    known = {int(number) for number in _checked(nvrtc.nvrtcGetSupportedArchs())[0]}
    if 10 * capability[0] + capability[1] not in known:
        raise EngineBuildError(
            f"NVRTC {version} does not know compute capability {_dotted(capability)}",
            stage="inference",
            hint=f"{_INSTALL}, in other versions",
        )
    cubin, _ = build(text, options)
    if path is not None:
        _keep(path, cubin)
    return cubin


def build(text: str, options: tuple[str, ...]) -> tuple[bytes, str]:
    """Return what NVRTC makes of a source, and its log.

    Raises:
        EngineBuildError: It refuses; the message has its log.
    """
    from cuda.bindings import nvrtc

    program = _checked(nvrtc.nvrtcCreateProgram(text.encode(), b"vidsr.cu", 0, [], []))[0]
    try:
        result = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])[0]
        log = bytes(_checked(nvrtc.nvrtcGetProgramLogSize(program))[0])
        _checked(nvrtc.nvrtcGetProgramLog(program, log))
        said = log.rstrip(b"\0 \n").decode(errors="replace")
        if int(result):
            raise EngineBuildError(
                f"NVRTC refuses the kernel ({result.name}): {said}",
                stage="inference",
                hint="use another backend, and report this",
            )
        cubin = bytes(_checked(nvrtc.nvrtcGetCUBINSize(program))[0])
        _checked(nvrtc.nvrtcGetCUBIN(program, cubin))
    finally:
        nvrtc.nvrtcDestroyProgram(program)
    return cubin, said


def _checked(answer: tuple[Any, ...]) -> tuple[Any, ...]:
    if int(answer[0]):
        raise EngineBuildError(f"NVRTC failed ({answer[0].name})", stage="inference")
    return answer[1:]


def _kept(path: Path) -> bytes | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    digest, cubin = data[:32], data[32:]
    return cubin if hashlib.sha256(cubin).digest() == digest else None


def _keep(path: Path, cubin: bytes) -> None:
    """Write the file, whole or not at all; a disk that refuses costs the next process a second."""
    with suppress(OSError, OutputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, hashlib.sha256(cubin).digest() + cubin)


def _dotted(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"
