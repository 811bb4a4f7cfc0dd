"""Finding models: by network, by id, or by the path of an ONNX file."""

from __future__ import annotations

import difflib
import hashlib
import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vidsr.errors import ModelError, OptionsError, UnknownModelError
from vidsr.models.card import ModelFile, ModelSpec, load_card, verify_file
from vidsr.models.checks import describe, parse_model, read_model_bytes
from vidsr.models.folders import engine_folders
from vidsr.models.halo import context_of
from vidsr.models.rescale import rescaled
from vidsr.models.stack import find_stack

if TYPE_CHECKING:
    import onnx

    from vidsr.kernels import FoldedStack

__all__ = [
    "Model",
    "Stored",
    "engine_folders",
    "find_model",
    "list_models",
    "named_model",
    "scales_of",
    "spec_of_file",
]

Stored = Literal["f32", "int8"]
"""Precisions that a model can be stored in; bf16 is made of f32 as it runs."""


@dataclass(frozen=True)
class Model:
    """A card and the file that it is about."""

    spec: ModelSpec
    path: Path
    """Of the f32 interchange file."""
    precision: Stored = "f32"
    """Which of the card's files `proto` is."""

    def at(self, precision: Stored) -> Model:
        """Return the model from another of its files; see `offers`.

        Raises:
            OptionsError: The card has no such file; the hint names the installed models that do.
        """
        if precision == self.precision:
            return self
        if not self.offers(precision):
            others = ", ".join(m.spec.id for m in list_models() if m.offers(precision))
            hint = f"these do: {others}" if others else "use --precision auto"
            raise OptionsError(f"{self.spec.id} does not offer {precision}", hint=hint)
        return replace(self, precision=precision)

    def offers(self, precision: Stored) -> bool:
        """Tell whether the card has a file of that precision."""
        return precision in self.spec.files

    @property
    def file(self) -> Path:
        """Where the file of `precision` is: int8 files lie beside the f32 file."""
        if self.precision == "f32":
            return self.path
        return self.path.parent / self.spec.files[self.precision].name

    @property
    def sha256(self) -> str:
        """Of that file, by the card."""
        return self.spec.files[self.precision].sha256

    @cached_property
    def proto(self) -> onnx.ModelProto:
        """The checked graph; read, verified against the card and parsed once.

        Raises:
            WeightsError: The file is not the one of the card, or its weights are not finite.
            ModelError: The file is missing or is not a graph that vidsr runs.
        """
        data = read_model_bytes(self.file)
        verify_file(data, self.spec.files[self.precision], self.file)
        proto = parse_model(data, self.file)
        facts = describe(proto, self.file)
        wanted = self.spec.scale if self.spec.input == "low" else 1
        if (facts.channels, facts.scale) != (self.spec.channels, wanted):
            raise ModelError(
                f"the graph has {facts.channels} channels and scale {facts.scale}, its card "
                f"says {self.spec.channels} and {wanted}",
                path=self.file,
                hint="correct the card",
            )
        return proto if self.spec.value_range == 1 else rescaled(proto, self.spec.value_range)

    @cached_property
    def stack(self) -> FoldedStack | str:
        """The graph as a stack of folded convolutions, or in what it differs from one; raises as `proto`."""
        return find_stack(self.proto)


def list_models(folders: list[Path] | None = None) -> list[Model]:
    """Return the models in `folders` (None: `engine_folders`), sorted by id; the first folder wins.

    Raises:
        ModelError: A card is wrong.
    """
    found: dict[str, Model] = {}
    for folder in engine_folders() if folders is None else folders:
        for card in sorted(folder.glob("*.toml")):
            spec = load_card(card)
            found.setdefault(spec.id, Model(spec, folder / spec.files["f32"].name))
    return [found[name] for name in sorted(found)]


def find_model(
    name: str,
    scale: int,
    folders: list[Path] | None = None,
    *,
    value_range: Literal[1, 255] | None = None,
    kind: Literal["clean", "video"] = "clean",
) -> Model:
    """Return the model that `name` means at `scale`.

    Args:
        name: A network ("ecbsr": its default variant), network and variant ("ecbsr-m4c16"), an id
            ("2x-ecbsr-m4c16"), or the path of a file that ends in .onnx.
        scale: Wanted magnification.
        folders: Where to look; None: `engine_folders`.
        value_range: See `ModelSpec.value_range`; for a file without a card. None: 1.
        kind: Which of a network's models its bare name means, where it has both kinds.

    Raises:
        UnknownModelError: There is none; the message lists what there is.
        ModelError: The file or its card is missing or wrong, or has another scale.
    """
    named = named_model(name, folders, value_range=value_range)
    if named is not None:
        return _same_scale(named, scale)
    models = list_models(folders)
    wanted = f"{scale}x-{name}"
    for model in models:
        if model.spec.id == wanted:
            return model
    variants = _plain_first([m for m in models if m.spec.network == name and m.spec.scale == scale])
    variants = [m for m in variants if m.spec.kind == kind] or variants
    defaults = [m for m in variants if m.spec.default]
    if len(variants) == 1 or len(defaults) == 1:
        return (defaults or variants)[0]
    if variants:
        ids = ", ".join(m.spec.id for m in variants)
        raise UnknownModelError(f"'{name}' at scale {scale} could be any of {ids}", hint="name one of them")
    raise _unknown(name, scale, models)


def named_model(
    name: str, folders: list[Path] | None = None, *, value_range: Literal[1, 255] | None = None
) -> Model | None:
    """Return the one model that `name` means whatever the scale: a file's or an id's; None: it is neither.

    Args:
        name: As for `find_model`.
        folders: Where to look; None: `engine_folders`.
        value_range: As for `find_model`.

    Raises:
        ModelError: The file or its card is missing or wrong.
        OptionsError: `value_range` is given for an installed model.
    """
    if name.lower().endswith(".onnx"):
        return _from_file(Path(name), value_range)
    if value_range is not None:
        raise OptionsError("--model-range is for an .onnx file without a card", hint="leave it out")
    return next((model for model in list_models(folders) if model.spec.id == name), None)


def scales_of(
    name: str, folders: list[Path] | None = None, *, kind: Literal["clean", "video"] | None = None
) -> list[int]:
    """Return the scales at which a network or variant exists, ascending.

    Networks that work at the target's size count only where there are no others of the name.

    Args:
        name: As for `find_model`.
        folders: As for `find_model`.
        kind: Count only models of this kind; None: of any.
    """
    found = [m for m in list_models(folders) if name in (m.spec.network, m.spec.id.split("-", 1)[1])]
    found = [m for m in found if kind in (None, m.spec.kind)]
    return sorted({m.spec.scale for m in _plain_first(found)})


def _plain_first(models: list[Model]) -> list[Model]:
    """Leave out networks that work at the target's size, unless there are no others: those are named."""
    return [m for m in models if m.spec.input == "low"] or models


def _same_scale(model: Model, scale: int) -> Model:
    if model.spec.scale != scale:
        raise ModelError(
            f"this model enlarges {model.spec.scale} times, not {scale}",
            path=model.path,
            hint=f"ask for --scale {model.spec.scale}, or for another model",
        )
    return model


def _unknown(name: str, scale: int, models: list[Model]) -> UnknownModelError:
    if not models:
        return UnknownModelError(
            f"no model '{name}' at scale {scale}, and no models are installed",
            hint="give the path of an .onnx file",
        )
    known = [m.spec.id for m in models]
    names = [*known, *(m.spec.network for m in models), *(i.split("-", 1)[1] for i in known)]
    close = difflib.get_close_matches(name.lower(), dict.fromkeys(names), n=2, cutoff=0.6)
    scales = sorted({m.spec.scale for m in models if name in (m.spec.network, m.spec.id.split("-", 1)[1])})
    if scales:
        hint = f"'{name}' exists at scale {', '.join(map(str, scales))}"
    elif close:
        hint = f"did you mean {' or '.join(close)}?"
    else:
        hint = "name one of them, or give the path of an .onnx file"
    return UnknownModelError(f"no model '{name}' at scale {scale}; there are: {', '.join(known)}", hint=hint)


def spec_of_file(path: Path) -> ModelSpec:
    """Return the card beside an ONNX file, or one made from its graph.

    Raises:
        ModelError: The file or its card is missing or wrong.
    """
    return _from_file(path).spec


def _from_file(path: Path, value_range: Literal[1, 255] | None = None) -> Model:
    if not path.is_file():
        raise ModelError("there is no such model file", path=path, hint="check the path")
    card = path.with_suffix(".toml")
    if card.is_file():
        spec = load_card(card)
        if value_range not in (None, spec.value_range):
            raise OptionsError(
                f"--model-range {value_range} contradicts the model's card, which says {spec.value_range}",
                path=card,
                hint="leave --model-range out, or correct the card",
            )
        if spec.files["f32"].name != path.name:
            raise ModelError(
                f"this card is about {spec.files['f32'].name}, not {path.name}",
                path=card,
                hint="correct the card",
            )
        return Model(spec, path)
    return Model(_spec_from_graph(path, value_range or 1), path)


def _spec_from_graph(path: Path, value_range: Literal[1, 255]) -> ModelSpec:
    """Derive a card from a file without one."""
    data = read_model_bytes(path)
    proto = parse_model(data, path)
    facts = describe(proto, path)
    context = context_of(proto)
    network = re.sub(r"[^a-z0-9_]+", "_", path.stem.lower()).strip("_") or "model"
    return ModelSpec(
        id=f"{facts.scale}x-{network}",
        network=network,
        scale=facts.scale,
        channels=facts.channels,
        halo=context.halo,
        value_range=value_range,
        multiple=context.multiple,
        min_size=context.multiple,
        tiling="exact" if context.exact else "approximate",
        files={"f32": ModelFile(_plain_name(path), hashlib.sha256(data).hexdigest())},
        description="A file without a card; scale, channels and halo were read from its graph.",
    )


def _plain_name(path: Path) -> str:
    """Return a name that a card accepts; `Model.path`, not this, says where the file is."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", path.stem).lstrip(".-") + ".onnx"
