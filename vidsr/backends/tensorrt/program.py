"""An engine on a GPU: loaded once, with an execution context for each stream."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from vidsr.backends.cuda.layer import CudaError, OutOfMemory

if TYPE_CHECKING:
    from vidsr.backends.cuda.layer import Device
    from vidsr.backends.tensorrt.library import Library
    from vidsr.models.deploy import Deployed
    from vidsr.models.half import TypedGraph

__all__ = ["EngineProgram"]

_NO_MEMORY = ("out of memory", "outofmemory", "cudaerrormemoryallocation")


class EngineProgram:
    """A `vidsr.backends.cuda.layer.Program`: an engine that all streams of a GPU share."""

    def __init__(
        self, device: Device, library: Library, engine: bytes, typed: TypedGraph, deployed: Deployed
    ) -> None:
        """Load an engine.

        Args:
            device: The GPU it was built for.
            library: What built it, and runs it.
            engine: Its bytes, whose digest was checked: TensorRT reads them unchecked.
            typed: The graph it was made of.
            deployed: The frames' format and size.

        Raises:
            CudaError: The library refuses it.
            OutOfMemory: It does not fit.
        """
        self._library = library
        shapes = typed.carriers_at((deployed.height, deployed.width))
        out = typed.carriers_at((deployed.out_height, deployed.out_width))
        self.input_bytes = tuple(map(prod, shapes))
        self.output_bytes = tuple(map(prod, out))
        self._shapes = shapes if typed.dynamic else ()
        with device.active():
            self._runtime = library.module.Runtime(library.log)
            self._engine = self._runtime.deserialize_cuda_engine(engine)
            if self._engine is None:
                raise _refused(library, "does not load the engine")

    def work(self) -> _Context:
        """Return a new execution context."""
        made = self._engine.create_execution_context()
        if made is None:
            raise _refused(self._library, "makes no execution context")
        for number, shape in enumerate(self._shapes):
            if not made.set_input_shape(f"p{number}", shape):
                raise _refused(self._library, f"does not take frames of {shape}")
        return _Context(self._library, made)

    def inspect(self) -> str:
        """Return what the library tells of the engine's layers, as JSON."""
        inspector = self._engine.create_engine_inspector()
        return str(inspector.get_engine_information(self._library.module.LayerInformationFormat.JSON))

    def close(self) -> None:
        """Free the engine; the runtime goes after it."""
        self._engine = None
        self._runtime = None


class _Context:
    """A `vidsr.backends.cuda.layer.Work`."""

    def __init__(self, library: Library, context: Any) -> None:
        self._library, self._context = library, context

    def enqueue(self, stream: int, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        for kind, pointers in (("p", inputs), ("q", outputs)):
            for number, pointer in enumerate(pointers):
                if not self._context.set_tensor_address(f"{kind}{number}", pointer):
                    raise _refused(self._library, f"does not take the memory of {kind}{number}")
        if not self._context.execute_async_v3(stream):
            raise _refused(self._library, "does not run the engine")

    def close(self) -> None:
        self._context = None


def _refused(library: Library, what: str) -> CudaError:
    """Return what the library said last as an error."""
    said = [" ".join(text.split()) for severity, text in library.log.take() if severity == "error"]
    message = f"{library.kind} {library.version} {what}" + (f": {said[-1][:300]}" if said else "")
    lower = " ".join(said).lower()
    return OutOfMemory(message) if any(sign in lower for sign in _NO_MEMORY) else CudaError(message)
