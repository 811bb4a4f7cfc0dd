"""From somebody's checkpoint to a model: which network it is, which values it works on, file and card."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from vidsr.errors import OptionsError, OutputError, WeightsError
from vidsr.models.card import ModelSpec, Training, write_card
from vidsr.networks.checkpoint import Checkpoint, read_checkpoint
from vidsr.networks.export import export_network, model_id, network_card
from vidsr.networks.registry import ARCHITECTURES, Architecture, architecture_of

__all__ = ["ImportOptions", "Imported", "identify", "import_checkpoint"]

_VARIANT = re.compile(r"[a-z0-9_.]+(?:-[a-z0-9_.]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """How a checkpoint becomes a model."""

    name: str = ""
    """Last part of the model's id; empty: its sizes."""
    value_range: Literal[1, 255] | None = None
    """What the checkpoint takes and gives for the largest code; None: as its authors published it."""
    license: str = ""
    """SPDX expression."""
    kind: Literal["clean", "video"] = "clean"
    """What it was trained for."""
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Imported:
    """What was made."""

    model: Path
    card: Path
    spec: ModelSpec
    weights: int
    """Numbers in the network."""
    range_reason: str
    """Which values the checkpoint was taken to work on, and why."""


def import_checkpoint(path: Path, folder: Path, options: ImportOptions | None = None) -> Imported:
    """Write ``<id>.onnx`` and ``<id>.toml`` of a checkpoint into `folder`; the card comes last.

    Raises:
        WeightsError: `path` is not a checkpoint, or of no network that vidsr knows.
        OptionsError: The name cannot be part of an id, or the model exists.
        OutputError: `folder` cannot be written.
    """
    options = options or ImportOptions()
    if options.name and not _VARIANT.fullmatch(options.name):
        raise OptionsError(
            f"'{options.name}' cannot be part of a model's name",
            hint="use lower-case letters, digits, '_' and '.', with '-' between them",
        )
    checkpoint = read_checkpoint(path)
    try:
        network = identify(checkpoint.weights)
    except WeightsError as error:
        raise WeightsError(error.message, path=path, hint=error.hint) from error
    peak, reason = _range_of(network, checkpoint.weights, options.value_range)
    network = _prepared(network, peak)
    name = model_id(network, options.name)
    model, card = folder / f"{name}.onnx", folder / f"{name}.toml"
    for existing in (model, card):
        if existing.exists() and not options.overwrite:
            raise OptionsError(
                "this file exists",
                path=existing,
                hint="add --overwrite to replace it, or give another --name",
            )
    text = _story(path, checkpoint, reason)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".vidsr-import-") as made:
            file = export_network(network, Path(made) / model.name)
            spec = network_card(
                network,
                file,
                variant=options.name,
                kind=options.kind,
                description=_description(network),
                license=options.license,
                training=Training(text),
            )
            drafted = write_card(spec, Path(made))
            os.replace(file, model)
            os.replace(drafted, card)
    except OSError as error:
        raise OutputError(f"cannot write the model ({error.strerror})", path=folder) from error
    return Imported(model, card, spec, sum(p.numel() for p in network.parameters()), reason)


def identify(weights: dict[str, Tensor]) -> Any:
    """Return the network that these weights are of.

    Raises:
        WeightsError: They are of none of `ARCHITECTURES`, or not whole.
    """
    why: WeightsError | None = None
    for architecture in ARCHITECTURES.values():
        try:
            return architecture.read(weights)
        except WeightsError as error:
            if why is None and any(re.match(architecture.mark, name) for name in weights):
                why = WeightsError(
                    f"these weights look like those of {architecture.title}, but {error.message}",
                    hint=error.hint,
                )
    titles = ", ".join(architecture.title for architecture in ARCHITECTURES.values())
    raise why or WeightsError(
        f"these weights are of none of the networks that vidsr knows: {titles}",
        hint="export the network to ONNX; --model takes that",
    )


def _range_of(network: Any, weights: dict[str, Tensor], wanted: int | None) -> tuple[int, str]:
    """Return the largest value that the weights work on, and the reason in words."""
    architecture = architecture_of(network)
    if wanted is not None:
        return wanted, f"values 0..{wanted}, as asked for"
    if weights.keys() == network.state_dict().keys():
        return 1, "values 0..1 assumed: its names are those of networks that vidsr trained"
    peak = architecture.published_range[network.channels == 3]
    colours = "RGB" if network.channels == 3 else "luma"
    return peak, f"values 0..{peak} assumed: {architecture.title} for {colours} is published so"


def _prepared(network: Any, peak: int) -> nn.Module:
    """Return the network as it is exported: folded, on 0..1."""
    plain: Any = network.fold() if hasattr(network, "fold") else network
    if peak != 1:
        plain.fold_range(float(peak))
    made: nn.Module = plain
    return made


def _description(network: Any) -> str:
    architecture: Architecture = architecture_of(network)
    blocks, features = network.sizes
    kind = "luma" if network.channels == 1 else "RGB"
    return f"{architecture.title}, {blocks} blocks of {features} channels, {kind}, imported"


def _story(path: Path, checkpoint: Checkpoint, reason: str) -> str:
    name = path.name.encode("utf-8", "replace").decode("utf-8")
    where = f", its '{checkpoint.wrapper}'" if checkpoint.wrapper else ""
    return f"not trained here: imported from {name} (sha256 {checkpoint.sha256}){where}; {reason}"
