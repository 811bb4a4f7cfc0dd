"""What runs a job's network, and in which precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from vidsr.backends import choose_backend
from vidsr.backends.base import Backend, Precision, SessionOptions
from vidsr.errors import BackendUnavailableError
from vidsr.job import Job
from vidsr.models.deploy import FrameFormat
from vidsr.models.lookup import Model
from vidsr.models.rows import row_work

__all__ = ["Runtime", "choose_runtime", "on_gpu"]

_Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Runtime:
    """A model in one of its files, and what runs it."""

    model: Model
    backend: Backend
    reason: str
    """Why this backend, in words."""
    session: SessionOptions
    resolved: Mapping[str, str]
    """What the session's options come to: what decides the result's bytes."""
    notes: tuple[str, ...] = ()
    """What to warn of."""


def on_gpu(resolved: Mapping[str, str]) -> bool:
    """Tell whether what a session's options come to is work for a GPU."""
    return resolved.get("device", "").startswith("cuda")


def choose_runtime(job: Job, model: Model, frame_format: FrameFormat, size: _Size, target: _Size) -> Runtime:
    """Return what runs a model for a job.

    Args:
        job: What to do; its backend, device, precision, `fast` and threads are looked at.
        model: The network.
        frame_format: Of the frames.
        size: Width and height of the frames.
        target: Of the results.

    Raises:
        OptionsError: There is no such backend, or the model does not offer the precision.
        BackendUnavailableError: The backend, the device or the precision is not there.
    """

    def at(chosen: Model, precision: Precision) -> Runtime:
        session = SessionOptions(device=job.device, precision=precision, threads=job.threads)
        backend, reason = choose_backend(job.backend, row_work(chosen, frame_format, size, target), session)
        return Runtime(chosen, backend, reason, session, backend.resolve(session))

    if job.precision == "int8":
        return at(model.at("int8"), "int8")
    # On 0..255 the skip connection stays inside the graph, where bf16 would cost up to 6 code values.
    plain = "f32" if job.precision == "auto" and model.spec.value_range == 255 else job.precision
    lacks = ""
    if job.fast and on_gpu((made := at(model, plain)).resolved):
        return replace(made, notes=("--fast is int8 where there is one; the GPU computes in f16 as ever",))
    if job.fast:
        lacks = f"{model.spec.id} does not offer it"
        if model.offers("int8"):
            try:
                made = at(model.at("int8"), "int8")
            except BackendUnavailableError as error:
                lacks = error.message
            else:
                if made.resolved.get("int8_sums") != "floats":
                    return made
                lacks = "without VNNI this processor has OpenVINO compute it in floats, no faster than f32"
    made = at(model, plain)
    return replace(made, notes=(f"--fast is int8 where there is one; {lacks}",)) if lacks else made
