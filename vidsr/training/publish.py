"""From a training run to a shipped model: fold, export, card."""

from __future__ import annotations

from pathlib import Path

from vidsr.errors import OutputError
from vidsr.models.card import Training, TrainingSource, write_card
from vidsr.networks.export import export_network, model_id, network_card
from vidsr.training.recipe import Recipe, Source
from vidsr.training.run import load_averaged

__all__ = ["publish"]


def publish(run: Path, folder: Path, *, default: bool) -> Path:
    """Write ``<id>.onnx`` and ``<id>.toml`` of a run's averaged weights; return the card's path.

    The card says nothing of quality: `vidsr evaluate --write-card` measures and adds it.

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
            description=_description(recipe),
            license="Apache-2.0",
            training=_training(recipe, steps),
        )
        return write_card(spec, folder)
    except OSError as error:
        raise OutputError(f"cannot write the model ({error.strerror})", path=folder) from error


def _description(recipe: Recipe) -> str:
    kind = "luma" if recipe.model.channels == 1 else "RGB"
    return f"ECBSR, {recipe.model.blocks} blocks of {recipe.model.features} channels, {kind}, for clean video"


def _named(source: Source) -> str:
    """Return the folder, and what was done to its pictures first."""
    done = ["halved"] * source.halve + [f"softened by {source.soften:g} pixels"] * bool(source.soften)
    return f"{source.folder} ({', '.join(done)})" if done else str(source.folder)


def _training(recipe: Recipe, steps: int) -> Training:
    data, optimizer = recipe.data, recipe.optimizer
    text = (
        f"{steps} of {optimizer.steps} steps of batch {data.batch}, low-resolution patches of {data.patch}"
        f" pixels, degradation '{data.degradation}' (MATLAB-style bicubic), L1, Adam from {optimizer.rate:g}"
        f" to {optimizer.final_rate:g} by a cosine, averaged weights, {recipe.run.precision}, seed"
        f" {recipe.run.seed}; recipe digest {recipe.digest[:16]}"
    )
    if recipe.model.start:
        text = f"from the weights of the run '{recipe.model.start}': {text}"
    sources = tuple(TrainingSource(_named(s), s.licence) for s in data.sources)
    return Training(text, sources)
