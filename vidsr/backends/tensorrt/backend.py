"""The backend `tensorrt`: deployed graphs as FP16 engines on NVIDIA GPUs, by TensorRT or TensorRT for RTX.

An engine is looked up in the user's cache, or built in another process, compared with float32 on the CPU and
kept (`making.py`). A job takes the engine of its frames' size where there is one, one for a range of sizes
(``vidsr engines build --dynamic``) where that is there, and else builds its own. The driver is asked before
TensorRT is imported: without one some of its versions crash.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from vidsr.backends.base import Availability, SessionOptions
from vidsr.backends.cuda import choosing, pycuda
from vidsr.backends.cuda.probing import find_cuda
from vidsr.backends.engine_cache import EngineCache
from vidsr.backends.engine_key import Place, Size
from vidsr.backends.tensorrt.engines import EngineMaker
from vidsr.backends.tensorrt.library import find_library, missing
from vidsr.errors import BackendUnavailableError, EngineBuildError

if TYPE_CHECKING:
    from vidsr.backends.base import Session
    from vidsr.backends.cuda.layer import DeviceInfo
    from vidsr.backends.engine_record import Engine
    from vidsr.backends.tensorrt.library import Library
    from vidsr.models.deploy import Deployed, FrameFormat
    from vidsr.models.lookup import Model
    from vidsr.models.rows import RowWork

__all__ = ["BACKEND", "TensorRtBackend"]

_PRECISION = "f16"


class TensorRtBackend:
    """Runs engines on GPUs: cuda:0, cuda:1, ..., or all of them."""

    name = "tensorrt"
    streams_rows = True  # what does not fit into a GPU's memory is cut when that has shown
    tiles_exact = False  # an engine for tiles may sum in another order than one for whole frames

    def lacks(self, rows: RowWork | str) -> None:
        """Return None: it takes every deployed graph."""

    def availability(self) -> Availability:
        """Tell whether there is a driver, a GPU, pycuda and TensorRT; it is imported only where there is."""
        try:
            library, devices = self._here()
        except BackendUnavailableError as error:
            said = "; ".join(filter(None, (error.message, error.hint)))
            return Availability(False, said, expected=not find_cuda().driver)
        detail = f"{library.kind} {library.version} on {choosing.in_words(devices)}"
        return Availability(True, detail, choosing.names(devices), (_PRECISION,))

    def resolve(self, options: SessionOptions) -> Mapping[str, str]:
        """Return backend, library, its version, GPU, compute capability, driver and precision.

        Raises:
            BackendUnavailableError: The driver, the library, the device or the precision is not there.
        """
        library, devices = self._choose(options)
        # Of several GPUs a frame may be made by any, so all of them decide the bytes.
        kinds = dict.fromkeys((one.name, one.capability, one.driver) for one in devices)
        return {
            "backend": self.name,
            "library": library.kind,
            "version": library.version,
            "device": ", ".join(f"cuda:{one.ordinal}" for one in devices),
            "device_name": ", ".join(name for name, _, _ in kinds),
            "capability": ", ".join(f"{major}.{minor}" for _, (major, minor), _ in kinds),
            "driver": devices[0].driver,
            "precision": _PRECISION,
        }

    def open(self, deployed: Deployed, options: SessionOptions) -> Session:
        """Load the engine of a graph on the GPUs, after building it where there is none.

        Raises:
            BackendUnavailableError: The driver, the library, the device or the precision is not there.
            EngineBuildError: It cannot be built, is not accurate enough, or the build was stopped.
            BackendError: The GPU's memory does not suffice.
        """
        library, devices = self._choose(options)
        if deployed.stored == "int8":
            raise EngineBuildError(
                "engines are made of a model's f32 file, this is its int8 file",
                stage="inference",
                hint="leave --precision int8 away",
            )
        maker = EngineMaker(library, EngineCache(), told=options.told)
        return maker.session(deployed, devices, options.in_flight, resident=options.resident)

    # ---- engines ahead of time: see `vidsr.backends.ahead` -----------------------------------------

    def places(self) -> Sequence[Place]:
        """Return where its engines run on this machine, a device each.

        Raises:
            BackendUnavailableError: The library or a device is not there.
        """
        library, devices = self._here()
        return [library.place(one) for one in devices]

    def kept(self, deployed: Deployed, options: SessionOptions) -> bool:
        """Tell whether the engine that a graph would get is there already."""
        library, devices = self._choose(options)
        maker = EngineMaker(library, EngineCache())
        return deployed.stored != "int8" and all(maker.kept(deployed, one) for one in _kinds(devices))

    def prepare(
        self,
        model: Model,
        frame_format: FrameFormat,
        sizes: Sequence[Size],
        *,
        device: str,
        precision: str,
        cache: EngineCache,
        progress: Callable[[str, int, int], bool],
        said: Callable[[str], object],
        again: bool,
    ) -> tuple[Engine, bool]:
        """Return the engine that a job of these frames will ask for, and whether it was built now.

        See `vidsr.backends.ahead.AheadBackend.prepare`.
        """
        if precision not in ("auto", _PRECISION, "fp16"):
            raise BackendUnavailableError(f"tensorrt has no {precision} here", hint=f"use {_PRECISION}")
        library, devices = self._choose(SessionOptions(device=device))
        maker = EngineMaker(library, cache, told=progress, said=said)
        made = [maker.prepare(model, frame_format, sizes, one, again=again) for one in _kinds(devices)]
        return made[0][0], any(built for _, built in made)

    def _here(self) -> tuple[Library, tuple[DeviceInfo, ...]]:
        """Return the library and the GPUs that it runs on.

        Raises:
            BackendUnavailableError: One of them is not there; the driver is asked first.
        """
        found = find_cuda()
        if found.why:
            message, _, hint = found.why.partition("; ")
            raise BackendUnavailableError(message, hint=hint)
        if (why := missing("tensorrt")) and missing("tensorrt-rtx"):
            message, _, hint = why.partition("; ")
            raise BackendUnavailableError(message, hint=hint)
        if why := pycuda.missing():
            message, _, hint = why.partition("; ")
            raise BackendUnavailableError(message, hint=hint)
        library = find_library()
        devices = tuple(one for one in found.devices if library.runs_on(one.capability))
        if not devices:
            known = ", ".join(library.capabilities())
            raise BackendUnavailableError(
                f"{library.kind} {library.version} runs on compute capabilities {known}, and here are"
                f" {choosing.in_words(found.devices)}",
                hint="pip install 'vidsr[tensorrt]', or choose another backend",
            )
        return library, devices

    def _choose(self, options: SessionOptions) -> tuple[Library, tuple[DeviceInfo, ...]]:
        library, devices = self._here()
        if options.precision not in ("auto", _PRECISION):
            raise BackendUnavailableError(
                f"tensorrt computes in {_PRECISION}, not in {options.precision}",
                hint=f"use --precision {_PRECISION}, or --backend torch for f32 on a GPU",
            )
        return library, choosing.chosen(devices, options.device, self.name)


def _kinds(devices: Sequence[DeviceInfo]) -> list[DeviceInfo]:
    """Return one GPU of each kind: an engine fits all of the same."""
    return list({(one.name, one.capability): one for one in reversed(devices)}.values())[::-1]


BACKEND = TensorRtBackend()
