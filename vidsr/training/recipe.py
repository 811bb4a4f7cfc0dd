"""A training run as one TOML file; the same file and the same pictures give the same weights."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import tomli_w

from vidsr import records
from vidsr.errors import TrainingError

__all__ = [
    "DataOptions",
    "EvaluationOptions",
    "ModelOptions",
    "OptimizerOptions",
    "Recipe",
    "RunOptions",
    "Source",
    "TeacherOptions",
    "VideoOptions",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """What is trained."""

    network: Literal["ecbsr", "rfdn", "imdn", "imdn-rtc"]
    scale: int
    """Magnification: 2, 3 or 4."""
    channels: Literal[1, 3]
    """1 for luma, 3 for RGB."""
    blocks: int
    """Between the first and the last layers."""
    features: int
    """Channels between the layers: an even number for rfdn, a multiple of 4 for imdn."""
    block: Literal["ecb", "plain", "repvgg", "acb", "dbb"] = "ecb"
    """What an ECBSR is trained with, see `vidsr.networks`; all fold to the same network."""
    quiet: bool = False
    """ECBSR: begin as the upsampled input alone, which learns faster at first. The last three blocks
    always do."""
    variant: str = ""
    """Last part of the model's name, ``<scale>x-<network>-<variant>``; empty: from the sizes."""
    default: bool = False
    """Whether the family's name, as in ``--model ecbsr``, means this model: one a scale and kind."""
    start: str = ""
    """Name of a run beside this one whose averaged weights it starts from. At another scale the layers
    that make the larger picture begin afresh: x3 and x4 start from x2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A folder of training pictures."""

    folder: Path
    """Relative to the data root."""
    licence: str
    halve: bool = False
    """Shrink the pictures twice first, which removes the traces of JPEG."""
    contrast: float = 1.0
    """Stretch the pictures' contrast about mid-gray by this factor first: titles, drawings and signs have
    harder edges than photographs."""
    soften: float = 0.0
    """Blur the pictures first with a Gaussian of this standard deviation in pixels: much video is less
    sharp than photographs, and a network that never saw such pictures overdoes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoOptions:
    """The degradation "video": short moving crops, shrunk and put through real encoders."""

    seed: int = 0
    """Of everything that is random here."""
    clips: int = 4000
    frames: int = 12
    """Of a clip; an encoder treats the first of a group unlike the others."""
    kept: int = 3
    """Frames of each clip that are trained on, drawn at random."""
    side: int = 128
    """Of a low-resolution frame in pixels."""
    motion: int = 6
    """Fastest pan, in high-resolution pixels a frame along each axis; every fourth clip stands still."""
    crf: tuple[float, float] = (15.0, 38.0)
    """Lowest and highest constant-quality value."""
    x265: float = 0.3
    """Share of the clips that x265 codes; x264 codes the others."""
    uncoded: float = 0.2
    """Share of the clips that are not coded."""
    presets: tuple[str, ...] = ("veryfast", "faster", "medium", "slow")
    gop: tuple[int, ...] = (12, 50, 250)
    """Frames between key frames at most."""
    softened: float = 0.6
    """Share of the clips that are blurred first: much video is less sharp than photographs."""
    soften: float = 1.6
    """Largest standard deviation of that Gaussian, in high-resolution pixels; the smallest is 0.2."""
    noise: float = 2.0
    """A sixth of the clips gets Gaussian noise of up to this standard deviation, in code values, on the
    low-resolution luma; what is aimed at stays without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOptions:
    """What it is trained on."""

    sources: tuple[Source, ...]
    validation: Path | None = None
    """Folder of pictures, relative to the data root, measured now and then; never trained on."""
    patch: int = 64
    """Side of a low-resolution patch in pixels."""
    batch: int = 32
    degradation: Literal["clean", "video"] = "clean"
    """clean: MATLAB-style bicubic, see `vidsr.evaluation.bicubic`; video: see `VideoOptions`."""
    video: VideoOptions = VideoOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherOptions:
    """A larger network that the trained one imitates (distillation)."""

    run: str
    """Name of a run beside this one, of the same scale and channels."""
    weight: float = 0.5
    """Share of the loss that is measured against the teacher's picture instead of the true one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerOptions:
    """How it is trained."""

    steps: int
    kind: Literal["adam", "soap"] = "adam"
    """soap: see `vidsr.training.soap`; it needs about a fifth of Adam's steps, at up to 3e-3."""
    loss: Literal["l1", "charbonnier", "l2", "root", "psnr"] = "l1"
    """charbonnier: sqrt(d^2 + 1e-6) of values in 0..1; l2: mean squared difference; psnr: mean
    PSNR of the patches, so that easy ones count as much as hard ones; root: mean fourth root of their mean
    squares, between l1 and psnr."""
    rate: float = 1e-3
    final_rate: float = 1e-6
    schedule: Literal["cosine", "step"] = "cosine"
    """After the warm-up: half a cosine from `rate` down to `final_rate`, or `rate` halved every
    `halve_every` steps."""
    halve_every: int = 0
    """For the schedule "step", in steps."""
    warmup: int = 200
    """Steps from zero to `rate`."""
    clip: float = 0.0
    """Largest norm of the gradient; 0: no limit."""
    ema: float = 0.999
    """Decay a step of the averaged weights, which are what is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How it is run."""

    seed: int = 0
    precision: Literal["bf16", "f32"] = "bf16"
    """bf16: autocast; weights, loss and optimizer stay in float32."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: an NVIDIA GPU where torch sees one."""
    compile: bool = True
    """Use torch.compile, which needs a C++ compiler."""
    checkpoint_every: int = 1000
    validate_every: int = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """What the finished model is measured on for its card; see ``vidsr evaluate``."""

    pictures: tuple[Path, ...] = ()
    """Folders, relative to the data root."""
    clips: tuple[Path, ...] = ()
    """Clips, relative to the data root."""
    crf: str = "none,18,23,28,33"
    """What the clips are compressed at, by x264."""
    frames: int = 120
    """Of each clip, from its beginning."""
    vmaf: bool = False
    """VMAF beside the rest; needs the extra 'vmaf'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A whole training run."""

    model: ModelOptions
    data: DataOptions
    optimizer: OptimizerOptions
    teacher: TeacherOptions | None = None
    run: RunOptions = RunOptions()
    evaluation: EvaluationOptions = EvaluationOptions()

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        video = self.data.video
        wrong = {
            "model.scale must be 2, 3 or 4": self.model.scale not in (2, 3, 4),
            "model.blocks must be 0 or more": self.model.blocks < 0,
            "model.features must be 1 or more": self.model.features < 1,
            "model.features of rfdn must be even and 4 or more": self.model.network == "rfdn"
            and (self.model.features < 4 or self.model.features % 2 != 0),
            "model.features of imdn must be a multiple of 4": self.model.network.startswith("imdn")
            and self.model.features % 4 != 0,
            "model.block and model.quiet are for ecbsr": self.model.network != "ecbsr"
            and (self.model.block != "ecb" or self.model.quiet),
            "data.sources is empty": not self.data.sources,
            "data.sources: contrast must be above 0": any(s.contrast <= 0 for s in self.data.sources),
            "data.video.kept must be from 1 to data.video.frames": not 1 <= video.kept <= video.frames,
            "data.video.side must be even and at least data.patch": self.data.degradation == "video"
            and (video.side % 2 != 0 or video.side < self.data.patch),
            "data.patch and data.batch must be 1 or more": min(self.data.patch, self.data.batch) < 1,
            "optimizer.steps must be 1 or more": self.optimizer.steps < 1,
            "optimizer.schedule 'step' needs optimizer.halve_every": self.optimizer.schedule == "step"
            and self.optimizer.halve_every < 1,
            "teacher.weight must be above 0 and at most 1": self.teacher is not None
            and not 0 < self.teacher.weight <= 1,
            "optimizer.ema must be from 0 up to, not including, 1": not 0 <= self.optimizer.ema < 1,
            "run.checkpoint_every and run.validate_every must be 1 or more": min(
                self.run.checkpoint_every, self.run.validate_every
            )
            < 1,
        }
        for text, is_wrong in wrong.items():
            if is_wrong:
                raise ValueError(text)

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """Read a recipe.

        Raises:
            TrainingError: The file is missing or wrong.
        """
        return records.load(cls, path, error=TrainingError)

    def with_block(self, block: str) -> Recipe:
        """Return the same run with another `ModelOptions.block`.

        Raises:
            TrainingError: There is no such block.
        """
        mapping = records.to_mapping(self)
        mapping["model"]["block"] = block
        try:
            return records.from_mapping(Recipe, mapping)
        except ValueError as error:
            raise TrainingError(str(error)) from error

    @property
    def digest(self) -> str:
        """SHA-256 of everything in the recipe that makes the weights, in hexadecimal.

        What was added after runs had begun must not change the digest of the recipes that do not use it.
        """
        mapping = records.to_mapping(replace(self, evaluation=EvaluationOptions()))
        del mapping["model"]["default"]  # says what the model is called, not what it is
        for source in mapping["data"]["sources"]:
            if source["contrast"] == 1:
                del source["contrast"]
        return hashlib.sha256(tomli_w.dumps(mapping).encode()).hexdigest()
