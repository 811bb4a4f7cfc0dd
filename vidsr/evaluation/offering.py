"""Putting an int8 file beside its model, and into its card."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vidsr.evaluation.gate import Loss
from vidsr.models.card import ModelFile, write_card
from vidsr.models.lookup import Model

if TYPE_CHECKING:
    import onnx

__all__ = ["offer", "staged"]


def staged(model: Model, graph: onnx.ModelProto, folder: Path) -> Model:
    """Write an int8 graph into a folder of its own and return the model with it, for measuring."""
    data = graph.SerializeToString(deterministic=True)
    name = f"{model.path.stem}.int8.onnx"
    (folder / name).write_bytes(data)
    files = {**model.spec.files, "int8": ModelFile(name, hashlib.sha256(data).hexdigest())}
    return Model(replace(model.spec, files=files), folder / model.path.name, "int8")


def offer(model: Model, made: Model, losses: Sequence[Loss]) -> Path:
    """Put a staged int8 file beside the model's f32 file, it and its figures into the card; return the card.

    The file comes first: a card without it would be wrong, a file without a card only lies there.
    """
    folder = model.path.parent
    part = folder / f".{made.file.name}.part"
    part.write_bytes(made.file.read_bytes())
    part.replace(folder / made.file.name)
    quality = {name: table for name, table in made.spec.quality.items() if not name.startswith("int8/")}
    for loss in losses:
        quality[f"int8/{loss.name}"] = {
            "psnr_y": round(loss.int8, 3),
            "psnr_y_f32": round(loss.f32, 3),
            "psnr_y_lost": round(loss.lost, 3),
        }
    return write_card(replace(made.spec, quality=quality), folder)
