"""What a job did, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidsr.errors import one_line

if TYPE_CHECKING:
    from vidsr.report import JobReport

__all__ = ["told"]


def told(report: JobReport) -> str:
    """Return the lines that `vidsr upscale` ends with."""
    width, height = report.size_in
    to_width, to_height = report.size_out
    runtime = report.runtime
    where = ", ".join(runtime[key] for key in ("device", "precision") if key in runtime)
    resumed = f", {report.frames_resumed} of them by an earlier run" if report.frames_resumed else ""
    lines = [
        f"{report.output or 'nothing written'}: {width}x{height} to {to_width}x{to_height},"
        f" {report.frames} frames{resumed}, {report.seconds:.1f} s, {report.fps:.1f} fps",
        f"model     {report.model} on {report.backend}" + (f" ({where})" if where else ""),
        f"chosen    {report.model_reason}",
        f"way       {report.way}; {report.tiles}",
        f"backend   {report.backend_reason}",
        f"colour    read as {report.color}",
        f"fields    {report.deinterlace}",
    ]
    if report.written is not None:
        lines.insert(6, f"          written as {report.written}")
    if report.decoder:
        lines.append(f"decoder   {report.decoder}")
    if report.encoder:
        options = " ".join(f"{k}={v}" for k, v in report.encoder_options.items())
        lines.append(f"encoder   {report.encoder} {options}")
    if report.threads:
        lines.append(f"threads   {report.threads}")
    if again := _again(report):
        lines.append(again)
    for stage in report.stages:
        waited = stage.waited_for_input + stage.waited_for_room
        lines.append(f"{stage.name:9} worked {stage.worked:7.2f} s, waited {waited:7.2f} s")
    lines.append(report.limited_by)
    lines += [f"warning: {text}" for text in report.warnings]
    return "\n".join(map(one_line, lines))


def _again(report: JobReport) -> str | None:
    """Return the line on what was taken over from frames before; None: nothing was."""
    reused = report.reused
    if not reused.repeated + reused.in_part:
        return None
    made = report.frames - report.frames_resumed
    share = reused.comparing / max([stage.wall for stage in report.stages], default=0.0)
    parts = f", {reused.in_part} in part" if reused.in_part else ""
    repeated = f"{reused.repeated} of {made} frames repeated{parts}"
    return f"re-use    {repeated}; comparing took {share:.1%} of the time"
