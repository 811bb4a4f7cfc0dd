"""Sessions of engines: which engine a job's frames get, and how a new one is measured before it is kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from vidsr.backends.cuda import pycuda
from vidsr.backends.cuda.layer import CudaError, OutOfMemory
from vidsr.backends.cuda.runner import GpuSession
from vidsr.backends.cuda.speed import fastest_in_flight
from vidsr.backends.tensorrt.builder import BuildOptions
from vidsr.backends.tensorrt.gate import check
from vidsr.backends.tensorrt.making import engine_for, key_for
from vidsr.backends.tensorrt.process import BUILDER
from vidsr.backends.tensorrt.program import EngineProgram
from vidsr.errors import BackendError, DeviceMemoryError
from vidsr.models.deploy import deploy
from vidsr.models.half import dynamic, half

if TYPE_CHECKING:
    from vidsr.backends.cuda.layer import Device, DeviceInfo, Program
    from vidsr.backends.engine_cache import EngineCache
    from vidsr.backends.engine_key import Size
    from vidsr.backends.engine_record import Engine
    from vidsr.backends.tensorrt.gate import GateResult
    from vidsr.backends.tensorrt.library import Library
    from vidsr.models.deploy import Deployed, FrameFormat
    from vidsr.models.half import TypedGraph
    from vidsr.models.lookup import Model

__all__ = ["EngineMaker"]

_RANGE = re.compile(r"(\d+)x(\d+)\.\.(\d+)x(\d+)\.\.(\d+)x(\d+)")


class EngineMaker:
    """Makes engines and opens sessions of them, for one library and one cache."""

    def __init__(
        self,
        library: Library,
        cache: EngineCache,
        *,
        told: Callable[[str, int, int], bool] | None = None,
        said: Callable[[str], object] = lambda _: None,
        open_device: Callable[[int], Device] | None = None,
        builder: str | None = None,
    ) -> None:
        """Take what is needed.

        Args:
            library: What builds and runs.
            cache: Where engines are kept.
            told: How far a build is; see `SessionOptions.told`.
            said: Told of waiting and of engines that are not used, a line each.
            open_device: Opens a GPU by its number; None: `vidsr.backends.cuda.pycuda.open_device`.
            builder: Module that builds; None: `vidsr.backends.tensorrt.process.BUILDER`.
        """
        self._library, self._cache, self._said = library, cache, said
        self._told = told or (lambda *_: True)
        self._open_device = open_device or pycuda.open_device
        self._builder = builder or BUILDER

    def session(
        self, deployed: Deployed, devices: Sequence[DeviceInfo], in_flight: int, *, resident: bool = False
    ) -> GpuSession:
        """Return a session on GPUs, its engines built where they are not there.

        Args:
            deployed: The graph.
            devices: The GPUs.
            in_flight: Frames at once on each; 0: as was measured when the engine was built.
            resident: See `GpuSession`.

        Raises:
            BackendError: An engine cannot be built, is not accurate enough, or does not fit into memory.
            OutputError: The cache cannot be written.
        """
        # Engines first: building one takes the GPU's memory.
        found = [self._engine(deployed, one) for one in devices]
        at_once = in_flight or min(engine.record.about.in_flight for engine, _ in found)
        loaded: list[tuple[Device, Program]] = []
        try:
            for one, (engine, typed) in zip(devices, found, strict=True):
                loaded.append(self._loaded(one, engine.data, typed, deployed))
        except BaseException:
            for device, program in loaded:
                with device.active():
                    program.close()
                device.close()
            raise
        return GpuSession(deployed, loaded, at_once, resident=resident)

    def prepare(
        self,
        model: Model,
        frame_format: FrameFormat,
        sizes: Sequence[Size],
        device: DeviceInfo,
        *,
        again: bool,
    ) -> tuple[Engine, bool]:
        """Return an engine for frames of one size, or of all between the first and the last of three.

        Raises:
            OptionsError: No engine of this network fits a range of sizes.
            BackendError, OutputError: As `session`.
        """
        width, height = sizes[len(sizes) // 2]
        deployed = deploy(model, frame_format, width, height)
        if len(sizes) == 1:
            return self._made(deployed, half(deployed), device, again=again)
        least, usual, most = ((h, w) for w, h in sizes)
        typed = dynamic(model, frame_format, (least, usual, most))
        return self._made(deployed, typed, device, sizes=sizes, again=again)

    def _engine(self, deployed: Deployed, device: DeviceInfo) -> tuple[Engine, TypedGraph]:
        """Return the engine of a graph: one that is there, or a new one."""
        kept = self.kept(deployed, device)
        if kept is not None:
            return kept
        typed = half(deployed)
        return self._made(deployed, typed, device)[0], typed

    def kept(self, deployed: Deployed, device: DeviceInfo) -> tuple[Engine, TypedGraph] | None:
        """Return the engine of a graph if it is there: its own, or else one for a range of sizes."""
        typed = half(deployed)
        engine = self._cache.get(key_for(deployed, typed, self._library.place(device)))
        return self._ranged(deployed, device) if engine is None else (engine, typed)

    def _ranged(self, deployed: Deployed, device: DeviceInfo) -> tuple[Engine, TypedGraph] | None:
        """Return a kept engine for a range of sizes that takes these frames; None: there is none."""
        model, place = deployed.source, self._library.place(device)
        if model is None:
            return None
        own = (deployed.width * model.spec.scale, deployed.height * model.spec.scale)
        if (deployed.out_width, deployed.out_height) != own:
            return None
        for entry in self._cache.all():
            key = None if entry.record is None or entry.problem else entry.record.key
            match = None if key is None else _RANGE.fullmatch(key.shapes)
            if key is None or match is None or (key.model, key.place) != (deployed.model, place):
                continue
            sides = [int(n) for n in match.groups()]
            least, usual, most = ((sides[i + 1], sides[i]) for i in (0, 2, 4))
            fits = (
                least[0] <= deployed.height <= most[0]
                and least[1] <= deployed.width <= most[1]
                # Odd sides crop chroma, which a graph for all sizes does not.
                and not deployed.width % (1 << deployed.format.pixel_format.chroma_shift_x)
                and not deployed.height % (1 << deployed.format.pixel_format.chroma_shift_y)
            )
            if not fits:
                continue
            typed = dynamic(model, deployed.format, (least, usual, most))
            if typed.digest == key.graph and (engine := self._cache.get(key)) is not None:
                return engine, typed
        return None

    def _made(
        self,
        deployed: Deployed,
        typed: TypedGraph,
        device: DeviceInfo,
        *,
        sizes: Sequence[Size] = (),
        again: bool = False,
    ) -> tuple[Engine, bool]:
        built = False

        def gate(engine: bytes) -> GateResult:
            nonlocal built
            built = True
            return self._compared(engine, typed, deployed, device)

        ranges = [(height, width) for width, height in sizes]
        options = BuildOptions(
            dynamic=(ranges[0], ranges[1], ranges[2]) if ranges else None,
            capability="{}.{}".format(*device.capability),
            ordinal=device.ordinal,
        )
        engine = engine_for(
            deployed,
            typed,
            self._library.place(device),
            self._cache,
            self._told,
            options=options,
            gate=gate,
            at_once=lambda engine: self._fastest(engine, typed, deployed, device),
            sizes=sizes,
            said=self._said,
            again=again,
            builder=self._builder,
        )
        return engine, built

    def _compared(
        self, engine: bytes, typed: TypedGraph, deployed: Deployed, device: DeviceInfo
    ) -> GateResult:
        with closing(self._alone(engine, typed, deployed, device, 1)) as session:
            return check(lambda src, dst: session.submit(src, dst).result(), deployed)

    def _fastest(self, engine: bytes, typed: TypedGraph, deployed: Deployed, device: DeviceInfo) -> int:
        """Return how many frames at once are fastest."""
        return fastest_in_flight(
            lambda number: self._alone(engine, typed, deployed, device, number), deployed
        )

    def _alone(
        self, engine: bytes, typed: TypedGraph, deployed: Deployed, device: DeviceInfo, in_flight: int
    ) -> GpuSession:
        return GpuSession(deployed, [self._loaded(device, engine, typed, deployed)], in_flight)

    def _loaded(
        self, info: DeviceInfo, engine: bytes, typed: TypedGraph, deployed: Deployed
    ) -> tuple[Device, Program]:
        device = self._open_device(info.ordinal)
        try:
            return device, EngineProgram(device, self._library, engine, typed, deployed)
        except CudaError as error:
            device.close()
            full = isinstance(error, OutOfMemory)
            raise (DeviceMemoryError if full else BackendError)(
                f"{info.name} cannot load the engine ({error})",
                stage="inference",
                hint="try --tile 512, or end what else uses the GPU"
                if full
                else "'vidsr engines prune --yes' removes what does not fit any more",
            ) from error
        except BaseException:
            device.close()
            raise
