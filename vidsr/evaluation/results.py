"""Everything that one evaluation finds, filled in source by source."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from vidsr.backends.base import Backend, Precision, SessionOptions
from vidsr.backends.openvino import run_interchange
from vidsr.evaluation.cards import note_quality
from vidsr.evaluation.clips import evaluate_clip
from vidsr.evaluation.crops import ClipCrops, Crop, PictureCrops
from vidsr.evaluation.pictures import BICUBIC, PictureScore, evaluate_pictures, mean_score
from vidsr.evaluation.scores import ClipScores, Coding
from vidsr.evaluation.sources import Kind
from vidsr.evaluation.verdicts import judge, judge_auto
from vidsr.frame import VideoInfo
from vidsr.models.lookup import Model
from vidsr.upscaler import UpscalerOptions

__all__ = ["Results"]


@dataclass(slots=True)
class Results:
    """Scores, and crops where they are kept for a report."""

    models: Mapping[str, Model]
    """By their names in tables."""
    coding: Coding
    automatic: Mapping[Kind, str] = field(default_factory=dict)
    """What `AUTO` takes for each kind of source, where it is measured."""
    keep_crops: bool = False
    pictures: dict[str, list[PictureScore]] = field(default_factory=dict)
    """By folder; the means last."""
    picture_crops: dict[str, list[Crop]] = field(default_factory=dict)
    clips: list[ClipScores] = field(default_factory=list)
    clip_crops: dict[str, dict[float | None, Crop]] = field(default_factory=dict)
    """By clip and crf."""

    def add_pictures(self, folder: Path, name: str, backend: Backend, options: UpscalerOptions) -> None:
        """Measure a folder of pictures, which is called `name`; raises as `evaluate_pictures`."""
        crops = PictureCrops(list(self.models), BICUBIC)
        look = crops.look if self.keep_crops else lambda *_: None
        scale = self.coding.scale
        scores = evaluate_pictures(
            self.models, folder, scale, backend, options, run_interchange, watcher=look
        )
        self.pictures[name] = [*scores, mean_score(scores)]
        self.picture_crops[name] = crops.crops

    def add_clip(
        self, info: VideoInfo, backend: Backend, options: UpscalerOptions, progress: Callable[[int], object]
    ) -> None:
        """Measure a clip; raises as `evaluate_clip`."""
        crops = ClipCrops(info, list(self.models)) if self.keep_crops else None
        scores = evaluate_clip(
            info, self.models, backend, options, self.coding, progress=progress, watcher=crops
        )
        self.clips.append(scores)
        if crops is not None:
            self.clip_crops[scores.name] = crops.crops

    def measure(
        self,
        folders: Mapping[str, Path],
        clips: Sequence[VideoInfo],
        backend: Backend,
        *,
        precision: Precision | None = None,
        tile: str = "auto",
        progress: Callable[[str, int], object] = lambda *_: None,
    ) -> None:
        """Measure folders of pictures and clips; raises as `evaluate_pictures` and `evaluate_clip`.

        Args:
            folders: By their names in tables.
            clips: What `probe` said of them.
            backend: What the models run on.
            precision: As of `SessionOptions`; None: f32 for pictures, auto for clips.
            tile: As of `UpscalerOptions`.
            progress: Told a clip's name and the number of its frames measured since the last call.
        """
        for name, folder in folders.items():
            self.add_pictures(folder, name, backend, _options(precision or "f32", tile))
        for info in clips:
            told = partial(progress, Path(info.path).stem)
            self.add_clip(info, backend, _options(precision or "auto", tile), told)

    def write_cards(self) -> list[Path]:
        """Put all figures into the models' cards; return their paths."""
        means = {folder: scores[-1] for folder, scores in self.pictures.items()}
        return [
            note_quality(name, model, means, self.clips, self.coding) for name, model in self.models.items()
        ]

    def to_mapping(self) -> dict[str, Any]:
        """Return the scores as dicts and lists for JSON, where a number that is not finite is None."""
        verdicts = judge(self.clips, list(self.models))
        auto = judge_auto(self.clips, self.automatic)
        found = {
            "models": {name: str(model.path) for name, model in self.models.items()},
            "coding": asdict(self.coding),
            "pictures": {name: [asdict(s) for s in scores] for name, scores in self.pictures.items()},
            "clips": [asdict(clip) for clip in self.clips],
            "verdicts": [asdict(verdict) for verdict in verdicts],
            "auto": None if auto is None else asdict(auto),
        }
        plain: dict[str, Any] = _finite(found)
        return plain


def _options(precision: Precision, tile: str) -> UpscalerOptions:
    return UpscalerOptions(session=SessionOptions(precision=precision), tile=tile)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
