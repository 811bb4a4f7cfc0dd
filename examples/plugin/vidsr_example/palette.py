"""``vidsr palette CLIP``: the mean colour of some moments of a clip, as hexadecimal numbers."""

from pathlib import Path
from typing import Annotated

import typer

import vidsr
from vidsr.video.reader import Reader, Span


def palette(
    clip: Annotated[Path, typer.Argument(help="A video.")],
    moments: Annotated[int, typer.Option(help="How many.")] = 5,
) -> None:
    """Print the mean colour of some moments of a clip."""
    info = vidsr.probe(clip)
    length = float(info.duration or 0)
    for number in range(moments):
        with Reader(info, Span(start=length * number / moments, frames=1)) as reader:
            for frame in reader:
                rgb = frame.origin.to_ndarray(format="rgb24").mean(axis=(0, 1)).round().astype(int)
                typer.echo("#" + "".join(f"{value:02x}" for value in rgb))
