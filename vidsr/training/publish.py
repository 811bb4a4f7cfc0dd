"""From a training run to a model in a folder: fold, export, card. Nothing is there before all of it is."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from vidsr.errors import OutputError, TrainingError
from vidsr.models.card import Training, TrainingSource, write_card
from vidsr.models.lookup import list_models
from vidsr.networks.export import export_network, model_id, network_card
from vidsr.networks.registry import architecture_of
from vidsr.training.optim import LOSSES
from vidsr.training.recipe import OptimizerOptions, Recipe, Source, VideoOptions
from vidsr.training.run import load_averaged

__all__ = ["check_default", "placed", "publish", "write_model"]

_OPTIMIZERS = {"adam": "Adam", "soap": "SOAP"}


def publish(run: Path, folder: Path, *, default: bool) -> Path:
    """Put ``<id>.onnx`` and ``<id>.toml`` of a run's averaged weights into `folder`; return the card's path.

    The card says nothing of quality; `vidsr.training.measure` and ``vidsr evaluate --write-card`` add it.

    Args:
        run: The run's folder.
        folder: Where the model goes; one of its id there is replaced.
        default: It is its family's default, whatever the recipe says.

    Raises:
        TrainingError: There is no checkpoint in `run`, or `folder` has another default.
        OutputError: `folder` cannot be written.
    """
    recipe, network, steps = load_averaged(run)
    default = default or recipe.model.default
    if default:
        check_default(recipe, network, folder)
    with placed(folder) as staging:
        card = write_model(recipe, network, steps, staging, default=default)
    return folder / card.name


def write_model(recipe: Recipe, network: nn.Module, steps: int, folder: Path, *, default: bool) -> Path:
    """Write both files of a network straight into `folder`; return the card's path.

    Args:
        recipe: What it was trained by.
        network: With the weights that count.
        steps: How many it has done.
        folder: Where the files go.
        default: Whether its family's name means this model.

    Raises:
        OutputError: `folder` cannot be written.
    """
    try:
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
        raise _cannot_write(folder, error) from error


def check_default(recipe: Recipe, network: nn.Module, folder: Path) -> None:
    """Check that a default would not be the second one of its family, scale and kind in `folder`.

    Raises:
        TrainingError: It would be.
        ModelError: A card in `folder` is wrong.
    """
    own, kind = model_id(network, recipe.model.variant), recipe.data.degradation
    family, scale = architecture_of(network).family, recipe.model.scale
    for other in (model.spec for model in list_models([folder])):
        alike = (other.network, other.scale, other.kind) == (family, scale, kind)
        if other.default and alike and other.id != own:
            raise TrainingError(
                f"{other.id} is what '{family}' means here at {scale}x for {kind} sources;"
                f" {own} cannot be that too",
                path=folder,
                hint="take 'default' out of one of them",
            )


@contextmanager
def placed(folder: Path) -> Iterator[Path]:
    """Yield an empty folder within `folder`, made if need be; at the end its files move into `folder`.

    All of them do, or after any failure none.

    Raises:
        OutputError: `folder` cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        staging = tempfile.TemporaryDirectory(prefix=".publishing-", dir=folder)
    except OSError as error:
        raise _cannot_write(folder, error) from error
    with staging as name:
        yield Path(name)
        try:
            _move_all(Path(name), folder)
        except OSError as error:
            raise _cannot_write(folder, error) from error


def _cannot_write(folder: Path, error: OSError) -> OutputError:
    return OutputError(
        f"cannot write the model ({error.strerror})", path=folder, hint="name a folder that can be written"
    )


def _move_all(staging: Path, folder: Path) -> None:
    names = sorted(path.name for path in staging.iterdir())
    earlier = staging / "earlier"
    earlier.mkdir()
    for name in names:
        if (folder / name).exists():
            shutil.copy2(folder / name, earlier)
    try:
        for name in names:
            os.replace(staging / name, folder / name)
    except BaseException:  # Ctrl-C between two files as well
        for name in names:
            if (earlier / name).exists():
                os.replace(earlier / name, folder / name)
            else:
                (folder / name).unlink(missing_ok=True)
        raise


def _description(recipe: Recipe, network: Any) -> str:
    found = architecture_of(network)
    blocks, features = network.sizes
    kind = "luma" if recipe.model.channels == 1 else "RGB"
    sources = {"clean": "clean sources", "video": "compressed video"}[recipe.data.degradation]
    return f"{found.title}, {blocks} blocks of {features} channels, {kind}, for {sources}"


def _named(source: Source) -> str:
    """Return the folder, and what was done to its pictures first."""
    done = ["halved"] * source.halve
    done += [f"contrast times {source.contrast:g}"] * (source.contrast != 1)
    done += [f"softened by {source.soften:g} pixels"] * bool(source.soften)
    return f"{source.folder} ({', '.join(done)})" if done else str(source.folder)


def _story(recipe: Recipe, steps: int) -> str:
    """Return how the weights were made, in one line for the card."""
    data, optimizer, model = recipe.data, recipe.optimizer, recipe.model
    degraded = "MATLAB-style bicubic" if data.degradation == "clean" else _coded(data.video)
    parts = [
        f"{steps} of {optimizer.steps} steps of batch {data.batch}",
        f"low-resolution patches of {data.patch} pixels",
        f"degradation '{data.degradation}' ({degraded})",
        f"{LOSSES[optimizer.loss].name}, {_OPTIMIZERS[optimizer.kind]} {_rates(optimizer)}",
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
        f" and presets {' '.join(video.presets)}; {video.uncoded:.0%} not coded;"
        f" {video.softened:.0%} softened by up to {video.soften:g} pixels;"
        f" noise up to {video.noise:g}; seed {video.seed}"
    )


def _rates(optimizer: OptimizerOptions) -> str:
    if optimizer.schedule == "step":
        return f"from {optimizer.rate:g}, halved every {optimizer.halve_every} steps"
    return f"from {optimizer.rate:g} to {optimizer.final_rate:g} by a cosine"
