"""From a training run to a shipped model: fold, export, card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vidsr.errors import OutputError
from vidsr.models.card import Training, TrainingSource, write_card
from vidsr.networks.export import export_network, model_id, network_card
from vidsr.networks.registry import architecture_of
from vidsr.training.recipe import OptimizerOptions, Recipe, Source, VideoOptions
from vidsr.training.run import load_averaged

__all__ = ["publish"]

_LOSSES = {"l1": "L1", "charbonnier": "Charbonnier", "l2": "mean squared error"}
_OPTIMIZERS = {"adam": "Adam", "soap": "SOAP"}


def publish(run: Path, folder: Path, *, default: bool) -> Path:
    """Write ``<id>.onnx`` and ``<id>.toml`` of a run's averaged weights; return the card's path.

    The card says nothing of quality; `vidsr.training.measure` and ``vidsr evaluate --write-card`` add it.

    Raises:
        TrainingError: There is no checkpoint in `run`.
        OutputError: `folder` cannot be written.
    """
    recipe, network, steps = load_averaged(run)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = export_network(network, folder / f"{model_id(network, recipe.model.variant)}.onnx")
        spec = network_card(
            network,
            path,
            variant=recipe.model.variant,
            default=default,
            kind=recipe.data.degradation,
            description=_description(recipe, network),
            license="Apache-2.0",
            training=Training(
                _story(recipe, steps),
                tuple(TrainingSource(_named(s), s.licence) for s in recipe.data.sources),
            ),
        )
        return write_card(spec, folder)
    except OSError as error:
        raise OutputError(f"cannot write the model ({error.strerror})", path=folder) from error


def _description(recipe: Recipe, network: Any) -> str:
    found = architecture_of(network)
    blocks, features = network.sizes
    kind = "luma" if recipe.model.channels == 1 else "RGB"
    sources = {"clean": "clean sources", "video": "compressed video"}[recipe.data.degradation]
    return f"{found.title}, {blocks} blocks of {features} channels, {kind}, for {sources}"


def _named(source: Source) -> str:
    """Return the folder, and what was done to its pictures first."""
    done = ["halved"] * source.halve + [f"softened by {source.soften:g} pixels"] * bool(source.soften)
    return f"{source.folder} ({', '.join(done)})" if done else str(source.folder)


def _story(recipe: Recipe, steps: int) -> str:
    """Return how the weights were made, in one line for the card."""
    data, optimizer, model = recipe.data, recipe.optimizer, recipe.model
    degraded = "MATLAB-style bicubic" if data.degradation == "clean" else _coded(data.video)
    parts = [
        f"{steps} of {optimizer.steps} steps of batch {data.batch}",
        f"low-resolution patches of {data.patch} pixels",
        f"degradation '{data.degradation}' ({degraded})",
        f"{_LOSSES[optimizer.loss]}, {_OPTIMIZERS[optimizer.kind]} {_rates(optimizer)}",
        f"averaged weights (decay {optimizer.ema:g})",
    ]
    if model.network == "ecbsr":
        parts.append(f"blocks '{model.block}'")
    if recipe.teacher is not None:
        parts.append(f"{recipe.teacher.weight:.0%} of the loss against the run '{recipe.teacher.run}'")
    parts.append(f"{recipe.run.precision}, seed {recipe.run.seed}")
    text = f"{', '.join(parts)}; recipe digest {recipe.digest[:16]}"
    return f"from the weights of the run '{model.start}': {text}" if model.start else text


def _coded(video: VideoOptions) -> str:
    low, high = video.crf
    return (
        f"MATLAB-style bicubic, then x264, or x265 for {video.x265:.0%}, at crf {low:g} to {high:g}"
        f" and presets {' '.join(video.presets)}; {video.uncoded:.0%} not coded; {video.softened:.0%} softened by up to"
        f" {video.soften:g} pixels; noise up to {video.noise:g}; seed {video.seed}"
    )


def _rates(optimizer: OptimizerOptions) -> str:
    if optimizer.schedule == "step":
        return f"from {optimizer.rate:g}, halved every {optimizer.halve_every} steps"
    return f"from {optimizer.rate:g} to {optimizer.final_rate:g} by a cosine"
