"""Recipes for engines: the models, sizes and formats that a fleet builds ahead of time, in TOML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vidsr import records
from vidsr.errors import OptionsError

if TYPE_CHECKING:
    from vidsr.backends.engine_key import Size
    from vidsr.models.deploy import FrameFormat

__all__ = ["EngineRecipe", "WantedEngines", "find_recipe", "load_recipe", "parse_range", "parse_size"]

_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedEngines:
    """Engines of one model: one for each size and format."""

    model: str
    """As `--model` takes it."""
    scale: int = 2
    sizes: tuple[str, ...] = ()
    """Of the frames (or tiles) that go in: 960x540, ..."""
    dynamic: tuple[str, ...] = ()
    """Ranges: 480x270,960x540,1920x1080 makes one engine for all sizes from the first to the last, fastest
    at the second."""
    formats: tuple[str, ...] = ("yuv420p",)
    """Pixel formats that frames arrive in."""
    matrix: Literal["bt601", "bt709", "bt2020", "fcc", "smpte240m", "ycgco", "rgb"] = "bt709"
    range: Literal["limited", "full"] = "limited"
    chroma_location: Literal["left", "center", "topleft", "top", "bottomleft", "bottom"] = "left"
    chroma: Literal["bicubic", "nearest"] = "bicubic"

    def __post_init__(self) -> None:
        """Check what the types do not."""
        if not self.sizes and not self.dynamic:
            raise ValueError(f"'sizes' or 'dynamic' is needed for {self.model}, such as 960x540")
        if not self.formats:
            raise ValueError(f"'formats' is empty for {self.model}")
        for size in self.sizes:
            parse_size(size)
        for text in self.dynamic:
            parse_range(text)
        self.frame_formats()

    def frame_formats(self) -> tuple[FrameFormat, ...]:
        """Return what frames arrive in.

        Raises:
            ValueError: One is not a format that networks work on.
        """
        from vidsr.frame import ChromaLocation, ColorRange, Matrix, PixelFormat
        from vidsr.models.deploy import FrameFormat

        where, which = ChromaLocation(self.chroma_location), ColorRange(self.range)
        return tuple(
            FrameFormat(PixelFormat.parse(name), Matrix(self.matrix), which, where, self.chroma)
            for name in self.formats
        )

    def each(self) -> Iterator[tuple[FrameFormat, tuple[Size, ...]]]:
        """Yield the format and the sizes of each engine: one size, or the least, the usual and the most."""
        shapes = [(parse_size(size),) for size in self.sizes], [parse_range(text) for text in self.dynamic]
        for frame_format in self.frame_formats():
            for sizes in (*shapes[0], *shapes[1]):
                yield frame_format, sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRecipe:
    """What is built in one go."""

    engines: tuple[WantedEngines, ...]
    backend: str = "tensorrt"
    device: str = "auto"
    precision: str = "auto"

    def __post_init__(self) -> None:
        """Refuse a recipe for nothing."""
        if not self.engines:
            raise ValueError("'engines' is empty")


def load_recipe(path: Path) -> EngineRecipe:
    """Return a recipe.

    Raises:
        OptionsError: The file is missing or wrong.
    """
    return records.load(EngineRecipe, path, error=OptionsError)


def find_recipe(name: str) -> Path:
    """Return a recipe's file: the one of that path, or that vidsr brings along under that name."""
    from vidsr.models.lookup import engine_folders

    path = Path(name)
    if path.exists() or path.name != name:
        return path
    installed = [folder / "recipes" / name for folder in engine_folders()]
    return next((one for one in installed if one.is_file()), path)


def parse_size(text: str) -> Size:
    """Return width and height.

    Raises:
        ValueError: It is not like 960x540.
    """
    match = _SIZE.fullmatch(text)
    if match is None or 0 in (size := (int(match[1]), int(match[2]))):
        raise ValueError(f"a size is like 960x540, not '{text}'")
    return size


def parse_range(text: str) -> tuple[Size, Size, Size]:
    """Return the least, the usual and the most size.

    Raises:
        ValueError: It is not like 480x270,960x540,1920x1080, each at least as large as the one before.
    """
    sizes = [parse_size(part.strip()) for part in text.split(",")]
    if len(sizes) != 3 or any(sorted(side) != list(side) for side in zip(*sizes, strict=True)):
        raise ValueError(f"a range is like 480x270,960x540,1920x1080, least to most, not '{text}'")
    return sizes[0], sizes[1], sizes[2]
