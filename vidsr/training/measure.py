"""From a finished training run to a model with its figures: what ``vidsr train --publish`` does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vidsr.backends import choose_backend
from vidsr.errors import OptionsError, SourceError, TrainingError
from vidsr.evaluation.results import Results
from vidsr.evaluation.scores import Coding
from vidsr.evaluation.sources import parse_crfs, sort_sources
from vidsr.evaluation.vmaf import check_vmaf
from vidsr.frame import VideoInfo
from vidsr.models.card import load_card
from vidsr.models.lookup import Model
from vidsr.training.publish import check_default, placed, write_model
from vidsr.training.recipe import Recipe
from vidsr.training.run import build, load_averaged, steps_done
from vidsr.video.probe import probe

__all__ = ["Measurement", "plan_measurement", "publish_measured"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a recipe's table ``[evaluation]`` names, found and opened once."""

    folders: dict[str, Path]
    """Of pictures, by their names in tables."""
    clips: tuple[VideoInfo, ...]
    coding: Coding


def plan_measurement(recipe: Recipe, root: Path, folder: Path) -> Measurement:
    """Find what is to be measured, and refuse now what could not be done after days of training.

    Args:
        recipe: The whole run.
        root: The folder that the recipe's folders are in.
        folder: Where the model will go.

    Raises:
        TrainingError: What the recipe's table says cannot be, or `folder` has another default.
        SourceError: A folder or a clip is missing.
        OutputError: `folder` cannot be written.
    """
    wanted = recipe.evaluation
    if not (wanted.pictures or wanted.clips):
        raise TrainingError(
            "the recipe's table [evaluation] names nothing to measure the model on",
            hint="give it pictures or clips there, or use 'vidsr export', which measures nothing",
        )
    try:
        coding = Coding(
            scale=recipe.model.scale, crfs=parse_crfs(wanted.crf), frames=wanted.frames, vmaf=wanted.vmaf
        )
        folders, clips = sort_sources([root / path for path in (*wanted.pictures, *wanted.clips)])
        infos = tuple(probe(clip) for clip in clips)
    except OptionsError as error:
        what = error.message.removeprefix("--")
        raise TrainingError(
            f"in the recipe's table [evaluation]: {what}", path=error.path, hint=error.hint
        ) from error
    except SourceError as error:
        hint = error.hint or "the recipe's table [evaluation] names it, relative to --data"
        raise type(error)(error.message, path=error.path, hint=hint) from error
    if wanted.vmaf and infos:
        check_vmaf()
    with placed(folder):
        pass  # it can be written
    if recipe.model.default:
        check_default(recipe, build(recipe), folder)
    return Measurement(folders, infos, coding)


def publish_measured(
    run: Path,
    recipe: Recipe,
    measurement: Measurement,
    folder: Path,
    *,
    progress: Callable[[str, int], object] = lambda *_: None,
) -> Path:
    """Put the model of a finished run into `folder` with its figures in its card; return the card's path.

    It is measured before it is there. One of its id that is there already is replaced by the whole new
    one, or stays.

    Args:
        run: The run's folder.
        recipe: Of the run; what does not make the weights may have changed since it began.
        measurement: What `plan_measurement` returned.
        folder: Where the model goes.
        progress: Told a clip's name and the number of its frames measured since the last call.

    Raises:
        TrainingError: The run is not finished, is of another recipe, or `folder` has another default.
        VidsrError: As `Results.measure`.
        OutputError: `folder` cannot be written.
    """
    done, steps = steps_done(run, recipe), recipe.optimizer.steps
    if done < steps:
        raise TrainingError(
            f"this run has done {done} of {steps} steps: what is not finished is not published",
            path=run,
            hint="train it to its end, or use 'vidsr export' for a look at it",
        )
    _, network, _ = load_averaged(run)
    if recipe.model.default:
        check_default(recipe, network, folder)
    backend, _ = choose_backend("auto")
    with placed(folder) as staging:
        card = write_model(recipe, network, done, staging, default=recipe.model.default)
        spec = load_card(card)
        model = Model(spec, staging / spec.files["f32"].name)
        results = Results({spec.id: model}, measurement.coding)
        results.measure(measurement.folders, measurement.clips, backend, progress=progress)
        results.write_cards()
    return folder / card.name
