"""Building the engines of a recipe, one after another, with a progress bar."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vidsr.backends.ahead import ahead_backend
from vidsr.backends.engine_cache import EngineCache
from vidsr.backends.engine_key import shapes_of
from vidsr.errors import BackendUnavailableError, OutputError, VidsrError, one_line

if TYPE_CHECKING:
    from vidsr.backends.engine_recipe import EngineRecipe

__all__ = ["BuildBar", "build_all"]


def build_all(
    recipe: EngineRecipe,
    *,
    again: bool,
    hidden: bool,
    echo: Callable[[str], object],
    complain: Callable[[VidsrError], object],
) -> int:
    """Build all engines of a recipe; what fails does not keep the others from being built.

    Args:
        recipe: Which.
        again: Build even what is there.
        hidden: Whether to show no progress.
        echo: Told a line for every engine.
        complain: Told what failed.

    Returns:
        How many failed.

    Raises:
        BackendUnavailableError: The backend cannot be used here.
        OutputError: Nothing can be kept.
        ModelError: A model is not there.
    """
    backend = ahead_backend(recipe.backend)
    found = backend.availability()
    if not found.usable:
        raise BackendUnavailableError(
            f"engines of {recipe.backend} cannot be built here: {found.detail}",
            hint="build them on a machine with the GPU that they are for",
        )
    from vidsr.models.lookup import find_model

    cache, failed = EngineCache(), 0
    models = [find_model(wanted.model, wanted.scale) for wanted in recipe.engines]
    for wanted, model in zip(recipe.engines, models, strict=True):
        for frame_format, sizes in wanted.each():
            what = f"{model.spec.id} {shapes_of(sizes)} {frame_format.pixel_format.name}"
            try:
                with BuildBar(what, hidden=hidden) as bar:
                    engine, built = backend.prepare(
                        model,
                        frame_format,
                        sizes,
                        device=recipe.device,
                        precision=recipe.precision,
                        cache=cache,
                        progress=bar.show,
                        said=bar.say,
                        again=again,
                    )
            except (BackendUnavailableError, OutputError):
                raise  # it would be the same with all others
            except VidsrError as error:
                error.message = f"{what}: {error.message}"
                complain(error)
                failed += 1
                continue
            gate, seconds = engine.record.gate, engine.record.about.build_seconds
            how = f"built in {seconds:.1f} s" if built else "was there"
            echo(f"{what}: {how}, {gate.psnr_db:.1f} dB against {gate.against}; {engine.path.name}")
    return failed


class BuildBar:
    """The progress of one engine on stderr."""

    def __init__(self, what: str, *, hidden: bool) -> None:
        self._what, self._hidden = what, hidden
        self._bar: Any = None
        self._phase = ""

    def __enter__(self) -> BuildBar:
        """Return self."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()

    def show(self, phase: str, step: int, steps: int) -> bool:
        """Show how far it is; True: go on."""
        if self._hidden:
            return True
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(
                unit=" steps",
                dynamic_ncols=True,
                mininterval=0.2 if sys.stderr.isatty() else 10.0,
                leave=False,
            )
        if phase != self._phase:
            self._phase = phase
            self._bar.reset(total=steps or None)
            self._bar.set_description_str(f"{self._what}: {phase}", refresh=False)
        self._bar.update(step - self._bar.n)
        return True

    def say(self, text: str) -> None:
        """Print a line without disturbing the bar."""
        line = f"vidsr: {one_line(text)}"
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        else:
            sys.stderr.write(line + "\n")
