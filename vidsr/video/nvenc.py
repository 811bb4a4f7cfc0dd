"""NVENC, the encoder on an NVIDIA GPU: its options, its pixel formats, and why it cannot be opened.

Each segment has an encoder of its own. So it begins with an IDR frame and no frame refers to another segment;
within it NVENC's groups of pictures are closed, and `forced-idr` has nothing to force.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vidsr.errors import HardwareError, OptionsError
from vidsr.job import Job
from vidsr.video.gpu import Gpu, find_gpu

__all__ = [
    "NVENC",
    "gpu_to_encode",
    "is_nvenc",
    "nvenc_formats",
    "nvenc_options",
    "nvenc_quality",
    "refusal",
    "require_gpu",
]


@dataclass(frozen=True, slots=True)
class _Encoder:
    """What is known of an encoder beforehand."""

    cpu: str
    """Who does the same on the CPU."""
    most: int
    """The largest, worst, quality."""
    most_qp: int
    """The largest quantiser."""
    quality: str
    """vidsr's default."""
    formats: tuple[str, ...]
    """FFmpeg lists more, and makes less of them: 10 bits of p016, and 4:2:0 of bgr0, both without a word."""


_DEEP = ("yuv420p", "nv12", "p010le", "nv16", "p210le", "yuv444p", "yuv444p10msble")
NVENC = {
    "h264_nvenc": _Encoder("libx264", 51, 51, "19", _DEEP),
    "hevc_nvenc": _Encoder("libx265", 51, 51, "21", _DEEP),
    "av1_nvenc": _Encoder("libsvtav1", 63, 255, "27", ("yuv420p", "nv12", "p010le")),
}
"""The encoders, by name."""

# In the order of how long they take; NVENC has seven. FFmpeg takes slow, medium and fast for older presets.
_PRESETS = {
    "ultrafast": "p1",
    "superfast": "p1",
    "veryfast": "p2",
    "faster": "p3",
    "fast": "p4",
    "medium": "p5",
    "slow": "p6",
    "slower": "p7",
    "veryslow": "p7",
    "placebo": "p7",
}
_OWN_PRESETS = tuple(f"p{number}" for number in range(1, 8))

# Names of GPUs without NVENC. FFmpeg's words for it are "unsupported device".
_WITHOUT = frozenset("A100 A30 A800 H100 H800 H200 H20 GH200 B100 B200 GB200 B300 GB300".split())
_SAID = {
    "10 bit encode not supported": "does not encode 10 bits with it",
    "YUV444P not supported": "does not encode 4:4:4 with it",
    "YUV422P not supported": "does not encode 4:2:2 with it",
    "Lossless encoding not supported": "does not encode losslessly with it",
    "Codec not supported": "has no such encoder: AV1 came with Ada (RTX 40, L4), 2022",
    "Driver does not support the required nvenc API version": "has a driver that is too old for this FFmpeg",
    "Width ": "does not encode frames as wide: H.264 ends at 4096 pixels, the others at 8192",
    "Height ": "does not encode frames as high: H.264 ends at 4096 pixels, the others at 8192",
    "Frame Dimension less": "does not encode frames as small",
    "incompatible client key": "has as many encoders open as its driver allows",
    "out of memory": "has no memory left for it",
}
"""FFmpeg's words for what a GPU lacks, and ours."""
_OF_FORMATS = ("10 bit encode not supported", "YUV444P not supported", "YUV422P not supported")


def gpu_to_encode() -> Gpu:
    """Return the GPU that would encode; tests put another in its place."""
    return find_gpu("nvidia-encode")


def is_nvenc(codec: str) -> bool:
    """Tell whether an encoder needs an NVIDIA GPU."""
    return codec in NVENC


def require_gpu(codec: str) -> Gpu:
    """Return the GPU that an encoder would run on.

    Raises:
        HardwareError: There is none, or it has no encoder.
    """
    gpu = gpu_to_encode()
    if gpu.lacks:
        raise HardwareError(f"{codec} cannot work here: {gpu.lacks}", hint=_advice(codec))
    # Of several, FFmpeg takes the first that can.
    if gpu.count == 1 and _WITHOUT & set(gpu.name.replace("-", " ").split()):
        raise _without(codec, gpu)
    return gpu


def nvenc_formats(codec: str, listed: Iterable[str]) -> tuple[str, ...]:
    """Return the pixel formats of those that FFmpeg lists which an encoder codes as they are."""
    return tuple(name for name in NVENC[codec].formats if name in set(listed))


def nvenc_quality(given: Mapping[str, str]) -> str:
    """Return the option that holds the quality: `cq`, or `qp` where a constant quantiser is asked for."""
    return "qp" if given.get("rc") == "constqp" or "qp" in given else "cq"


def nvenc_options(codec: str, job: Job, *, plain: bool) -> tuple[dict[str, str], list[str]]:
    """Return an encoder's options, and what should be said of them.

    A quality is `cq` with rc=vbr and no bit rate (b=0, since FFmpeg's default is 2 Mbit/s), or `qp` with
    rc=constqp. What `job.encoder_options` say replaces these later.

    Args:
        codec: The encoder.
        job: What was asked for.
        plain: Whether 8 bits of 4:2:0 are coded, for which FFmpeg would choose H.264's Main profile.

    Raises:
        OptionsError: A quality or a preset that NVENC does not have.
    """
    given, known = job.encoder_options, NVENC[codec]
    options, notes = {"preset": "p5"}, []
    if codec == "h264_nvenc" and plain:
        options["profile"] = "high"
    preset = given.get("preset") or job.preset
    if preset is not None:
        options["preset"] = _PRESETS.get(preset, preset)
        if options["preset"] not in _OWN_PRESETS:
            known_names = f"it has p1 (fastest) to p7, and takes {', '.join(_PRESETS)} for them"
            raise OptionsError(f"{codec} has no preset '{preset}'", hint=known_names)
        if preset in _PRESETS:
            notes.append(f"{codec} has no preset {preset}: {options['preset']} of p1 to p7 is taken")
    name = nvenc_quality(given)
    if given.get("tune") == "lossless":
        if job.crf is not None or name in given:
            raise OptionsError(
                f"{codec} cannot be lossless and of a quality at once", hint="give one of them"
            )
        return options, notes
    options |= {"rc": "constqp"} if name == "qp" else {"rc": "vbr", "b": "0"}
    if name == "qp" and job.crf is None:
        if "qp" not in given:
            raise OptionsError(f"rc=constqp of {codec} needs a quantiser", hint="give --crf or -e qp=N")
        return options, notes
    least, most = (1, known.most) if name == "cq" else (0, known.most_qp)
    if job.crf is not None and not least <= job.crf <= most:
        hint = "cq=0 would mean that NVENC chooses; -e tune=lossless loses nothing" if not job.crf else None
        raise OptionsError(f"--crf of {codec} is from {least} to {most}, not {job.crf:g}", hint=hint)
    if job.crf is not None and name == "qp" and job.crf != int(job.crf):
        raise OptionsError(f"rc=constqp takes whole numbers, not {job.crf:g}")
    options[name] = known.quality if job.crf is None else f"{job.crf:g}"
    return options, notes


def refusal(codec: str, lines: Iterable[str], what: str) -> HardwareError:
    """Return the error for an encoder that could not be opened.

    Args:
        codec: The encoder.
        lines: What FFmpeg said meanwhile.
        what: Size, format and options, in words.
    """
    gpu, said = gpu_to_encode(), [" ".join(line.split()) for line in lines]
    name = gpu.name or "the GPU"
    for words, meaning in _SAID.items():
        if any(words in line for line in said):
            simpler = ", and --pix-fmt yuv420p asks for less" if words in _OF_FORMATS else ""
            return HardwareError(
                f"{codec} cannot encode {what}: {name} {meaning}", hint=_advice(codec) + simpler
            )
    if any("unsupported device" in line for line in said):
        return _without(codec, gpu)
    # FFmpeg's last word is of all GPUs together; what one lacks was said before it.
    telling = [line for line in said if line != "No capable devices found"] or said
    detail = f" ({telling[-1]})" if telling else ""
    return HardwareError(f"{codec} cannot encode {what} on {name}{detail}", hint=_advice(codec))


def _without(codec: str, gpu: Gpu) -> HardwareError:
    return HardwareError(
        f"{codec} cannot work here: {gpu.name or 'this GPU'} has no NVENC; GPUs for data centres such as"
        " A100, A30, H100, H200, GH200 and B200 decode but do not encode",
        hint=_advice(codec),
    )


def _advice(codec: str) -> str:
    return f"-c {NVENC[codec].cpu} encodes on the CPU"
