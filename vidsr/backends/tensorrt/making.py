"""From a typed graph to an engine that may be used: looked up, or built, gated and kept."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from vidsr.backends.engine_cache import EngineCache
from vidsr.backends.engine_key import EngineKey, Place, Size, shapes_of
from vidsr.backends.engine_record import About, Engine
from vidsr.backends.engine_states import outdated_kin
from vidsr.backends.tensorrt.gate import GateResult, require
from vidsr.backends.tensorrt.process import BUILDER, Progress, Typed, build_apart

if TYPE_CHECKING:
    from vidsr.models.deploy import Deployed

__all__ = ["engine_for", "key_for"]


def key_for(
    deployed: Deployed,
    typed: Typed,
    place: Place,
    *,
    sizes: Sequence[Size] = (),
    precision: str = "fp16",
) -> EngineKey:
    """Return the key of the engine that `engine_for` makes; arguments as there."""
    shapes = shapes_of(sizes or [(deployed.width, deployed.height)])
    return EngineKey.at(place, model=deployed.model, graph=typed.digest, shapes=shapes, precision=precision)


def engine_for(
    deployed: Deployed,
    typed: Typed,
    place: Place,
    cache: EngineCache,
    progress: Progress = lambda *_: True,
    *,
    options: Any,
    gate: Callable[[bytes], GateResult],
    at_once: Callable[[bytes], int] = lambda _: 2,
    sizes: Sequence[Size] = (),
    precision: str = "fp16",
    said: Callable[[str], object] = lambda _: None,
    again: bool = False,
    builder: str = BUILDER,
) -> Engine:
    """Return the engine of a graph at a place: the kept one, or a new one that passed the gate and is kept.

    Processes that want the same engine at once build it once.

    Args:
        deployed: The graph; where sizes vary, that of the usual one.
        typed: The same with types, which is compiled.
        place: Runtime, driver and GPU.
        cache: Where engines are kept.
        progress: Told how far the building is; False stops it.
        options: The builder's `BuildOptions`; its timing cache is filled in here.
        gate: Measures a new engine, given its bytes: see `vidsr.backends.tensorrt.gate.check`.
        at_once: Measures how many frames at once it is fastest with, once it has passed.
        sizes: Least, usual and most size of frames, where they vary.
        precision: Of the engine, for its key.
        said: Told for whom this process waits and why a kept engine is not used, a line each.
        again: Build even if there is one.
        builder: Module that builds, imported in the other process.

    Raises:
        EngineBuildError: It cannot be built, is not accurate enough, or `progress` stopped it.
        OutputError: The cache cannot be written.
    """
    key = key_for(deployed, typed, place, sizes=sizes, precision=precision)
    if not again and (kept := cache.get(key)) is not None:
        return kept
    with cache.building(key, said) as found:
        if found is not None and not again:
            return found
        if why := cache.refused or ("" if again else outdated_kin(cache, key)):
            said(f"{key.name} is built anew: {why}")
        began = time.monotonic()
        with cache.workspace(key) as folder:
            given = dataclasses.replace(options, timing_cache=cache.timing(place))
            made = build_apart(typed, given, progress, folder=folder, builder=builder)
        seconds = round(time.monotonic() - began, 2)
        cache.keep_timing(place, made.timing_cache)  # right whatever the gate says
        result = gate(made.engine)
        require(result, name=f"the engine {key.name}")
        about = About(
            model_sha256=deployed.model_sha256,
            pixel_format=deployed.format.pixel_format.name,
            result=shapes_of([(deployed.out_width, deployed.out_height)]),
            build_seconds=seconds,
            in_flight=at_once(made.engine),
        )
        return cache.put(key, made.engine, result, about)
