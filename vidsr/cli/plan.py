"""What ``vidsr upscale --plan`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidsr.cli.layout import bytes_in_words, clock, count_in_words, duration, labelled

if TYPE_CHECKING:
    from vidsr.forecast import Forecast

__all__ = ["told"]


def told(plan: Forecast) -> str:
    """Return a forecast as aligned lines."""
    trial, runtime = plan.trial, plan.runtime
    where = ", ".join(runtime[key] for key in ("device", "precision") if key in runtime)
    size_in, size_out = ("x".join(map(str, size)) for size in (plan.size_in, plan.size_out))
    replaces = " (a file that is there is replaced)" if plan.replaces else ""
    container = f"{plan.container}: " if plan.container else ""
    rows = [
        ("source", f"{plan.source}, {size_in}, {plan.pixel_format_in}"),
        ("output", f"{plan.output or 'nothing'}, {size_out}{replaces}"),
        ("container", f"{container}{plan.container_reason}"),
        ("model", plan.model),
        ("chosen", plan.model_reason),
        ("way", f"{plan.way}; {plan.tiles}"),
        ("backend", plan.backend + (f" ({where})" if where else "")),
        ("", plan.backend_reason),
        ("decoder", plan.decoder),
        ("fields", trial.deinterlace),
        ("colour", f"read as {plan.color}"),
    ]
    if plan.encoder is not None:
        rows.append(("", f"written as {plan.written}"))
        options = " ".join(f"{key}={value}" for key, value in plan.encoder_options.items())
        rows.append(("encoder", f"{plan.encoder} {options}"))
    rows.append(("threads", plan.threads))
    for stream in plan.streams:
        detail = f" ({stream.detail})" if stream.fate == "dropped" else f" {stream.detail}"
        rows.append(
            (f"stream {stream.index}", f"{stream.kind} {stream.codec}: {stream.fate}{detail.rstrip()}")
        )
    if plan.unfinished is not None:
        kept = f"{plan.frames_done} frames of it are kept" if plan.frames_done else "none of it is used"
        rows.append(("unfinished", f"work of an earlier run in {plan.unfinished.path}: {kept}"))
    rows.append(("frames", count_in_words(plan.frames)))
    rows.append(("time", _time(plan)))
    if plan.expected_bytes is not None and plan.encoder is not None:
        about = "" if trial.whole else "about "
        without = "" if plan.carried_bytes is not None else ", without the other streams"
        rows.append(("size", f"{about}{bytes_in_words(plan.expected_bytes)}{without}"))
    if plan.temporary_bytes is not None and plan.encoder is not None:
        rows.append(("space", _space(plan)))
    rows.append(("rests on", _trial(plan)))
    rows += [("warning", text) for text in plan.warnings]
    return "\n".join([*labelled(rows), "Nothing was written."])


def _time(plan: Forecast) -> str:
    each = plan.trial.frame_seconds
    rate = f"{1 / each:.1f} fps" if each > 0 else "immeasurably fast"
    if plan.expected_seconds is None:
        return f"{rate}; how many frames there are is not known"
    about = "" if plan.trial.whole else "about "
    return f"{about}{duration(plan.expected_seconds)} on this machine as it is now ({rate})"


def _space(plan: Forecast) -> str:
    about = "" if plan.trial.whole else "about "
    joined = ": its segments and, while they are joined, the result" if plan.container else ""
    free = "" if plan.free_bytes is None else f"; {bytes_in_words(plan.free_bytes)} are free"
    return f"{about}{bytes_in_words(plan.temporary_bytes or 0)} while it works{joined}{free}"


def _trial(plan: Forecast) -> str:
    trial = plan.trial
    if trial.whole:
        count = "the one frame" if trial.frames == 1 else f"all {trial.frames} frames"
        return f"{count}, made in {trial.seconds:.1f} s: everything that is asked for"
    count = f"{trial.frames} frame{'' if trial.frames == 1 else 's'}"
    return f"a trial of {trial.seconds:.1f} s: {count} from {clock(trial.begins)} on"
