"""What a job did, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["JobReport", "Reused", "StageTimes", "Work", "limiting_stage"]


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Where a stage's time went, in seconds."""

    name: str
    """decode, inference, encode, or finish: emptying the encoder, joining, verifying, naming."""
    worked: float
    waited_for_input: float
    """For the stage before it."""
    waited_for_room: float
    """For the stage after it, its queue being full."""
    wall: float = 0.0
    """How long all stages ran."""

    def __add__(self, other: StageTimes) -> StageTimes:
        """Return the times of the same stage in two stretches, one after the other."""
        return StageTimes(
            self.name,
            self.worked + other.worked,
            self.waited_for_input + other.waited_for_input,
            self.waited_for_room + other.waited_for_room,
            self.wall + other.wall,
        )


@dataclass(slots=True)
class Reused:
    """What was taken over from the frame before instead of being computed."""

    frames: int = 0
    """Looked at: all of them, unless looking cost more than it saved."""
    repeated: int = 0
    """Of these, whole."""
    in_part: int = 0
    """Of these, in some tiles."""
    tiles: int = 0
    """Of frames that were repeated in part."""
    tiles_repeated: int = 0
    comparing: float = 0.0
    """Seconds."""

    def __add__(self, other: Reused) -> Reused:
        """Return what was re-used in two stretches."""
        return Reused(
            self.frames + other.frames,
            self.repeated + other.repeated,
            self.in_part + other.in_part,
            self.tiles + other.tiles,
            self.tiles_repeated + other.tiles_repeated,
            self.comparing + other.comparing,
        )


@dataclass(slots=True)
class Work:
    """What was done so far, of a job or of a part of it."""

    frames: int = 0
    stages: tuple[StageTimes, ...] = ()
    """Decode, inference and encode."""
    warnings: tuple[str, ...] = ()
    """Of the reader, and of the network."""
    deinterlaced: str = ""
    """See `JobReport.deinterlace`."""
    decoder: str = ""
    """See `JobReport.decoder`."""
    reused: Reused = field(default_factory=Reused)

    def add_stages(self, stages: Sequence[StageTimes]) -> None:
        """Add the times of the same stages in another stretch."""
        if not (self.stages and stages):
            self.stages = self.stages or tuple(stages)
            return
        self.stages = tuple(a + b for a, b in zip(self.stages, stages, strict=True))

    def add(self, other: Work) -> None:
        """Add what was done elsewhere."""
        self.frames += other.frames
        self.add_stages(other.stages)
        self.warnings += other.warnings
        self.deinterlaced = other.deinterlaced or self.deinterlaced
        self.decoder = other.decoder or self.decoder
        self.reused += other.reused


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """What was done, and how."""

    source: str
    output: str | None
    """None: nothing was written."""
    model: str
    model_reason: str
    """Why this model, in words."""
    target: str
    """What was asked for: "1.5x", or "1920x1080" as it is shown."""
    way: str
    """How the model gets there: "2x network, then down to 1.5x (Lanczos)"."""
    tiles: str
    """How frames were cut."""
    backend: str
    backend_reason: str
    """Why this backend, in words."""
    runtime: dict[str, str] = field(default_factory=dict)
    """What decides the network's results: device, precision, threads, versions."""
    threads: str = ""
    """How the cores were shared, and why so."""
    decoder: str = ""
    """What decoded the source in this run, and why."""
    encoder: str | None
    encoder_options: dict[str, str] = field(default_factory=dict)
    size_in: tuple[int, int]
    """Width and height in pixels."""
    size_out: tuple[int, int]
    pixel_format: str
    """The source's."""
    color: str
    """How code values were read, and what of that was a guess."""
    written: str | None = None
    """What was written: layout, depth, colour tags, HDR data; None: nothing."""
    deinterlace: str = ""
    """What became of interlaced frames in this run."""
    frames: int
    """In the result."""
    frames_resumed: int
    """Of these, made by an earlier run."""
    seconds: float
    """All of it, from opening the source to the final name."""
    fps: float
    """Frames a second of this run, between the first and the last."""
    reused: Reused = field(default_factory=Reused)
    """By this run."""
    stages: tuple[StageTimes, ...] = ()
    limited_by: str
    """One sentence."""
    warnings: tuple[str, ...] = ()


_SENTENCES = {
    "decode": "Decoding limited the run: it worked {share:.0%} of the time.",
    "inference": "The network limited the run: it worked {share:.0%} of the time.",
    "encode": "The encoder limited the run: it worked {share:.0%} of the time; a faster --preset would help.",
}


def limiting_stage(stages: Sequence[StageTimes]) -> str:
    """Say in a sentence which stage the others waited for."""
    wall = max((stage.wall for stage in stages), default=0.0)
    if not wall:
        return "Nothing was left to do."
    slowest = max(stages, key=lambda stage: stage.worked)
    share = min(1.0, slowest.worked / wall)
    return _SENTENCES[slowest.name].format(share=share)
