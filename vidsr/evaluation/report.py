"""Scores as one HTML file that needs nothing else: tables, curves, and crops side by side."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

from vidsr.errors import OutputError
from vidsr.evaluation.crops import Crop, png
from vidsr.evaluation.plots import Plot, plot_clip
from vidsr.evaluation.results import Results
from vidsr.evaluation.scores import ClipScores, crf_label
from vidsr.evaluation.tables import (
    Table,
    auto_table,
    clip_table,
    describe_coding,
    gain_table,
    mean_clip,
    picture_table,
)
from vidsr.evaluation.verdicts import judge, judge_auto

__all__ = ["write_report"]

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --ground: #fff; --faint: #666; --line: #d5d5d5;
  --soft: #f3f4f6; --good: #166534; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e4e4; --ground: #16181c; --faint: #9aa0a6;
  --line: #3a3d42; --soft: #22252a; --good: #7bd88f; --bad: #ff8a80; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground);
  max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; } h2 { border-top: 1px solid var(--line); padding-top: 1.2rem; }
p.faint, figcaption { color: var(--faint); font-size: .875rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .15rem .7rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
th { border-bottom: 2px solid var(--line); font-weight: 600; }
tr.begins td { border-top: 1px solid var(--line); }
.gain { color: var(--good); } .loss { color: var(--bad); }
ul.verdicts { list-style: none; padding: 0; }
ul.verdicts li { background: var(--soft); border-left: 4px solid var(--good); padding: .5rem .8rem;
  margin: .5rem 0; }
ul.verdicts li.behind { border-color: var(--bad); }
img.plot { max-width: 100%; height: auto; }
.crops { display: flex; flex-wrap: wrap; gap: .8rem; margin: .4rem 0 1.2rem; }
.crops figure { margin: 0; } .crops img { display: block; max-width: 100%; image-rendering: pixelated; }
"""


def write_report(results: Results, path: Path) -> None:
    """Write the results as an HTML file, whole or not at all.

    Raises:
        OutputError: It cannot be written there.
    """
    page = _page(results)
    partial = path.with_name(f".{path.name}.part")
    try:
        partial.write_text(page, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write here ({error.strerror})", path=path) from error


def _page(results: Results) -> str:
    names = list(results.models)
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>vidsr: {escape(', '.join(names))}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{results.coding.scale}x: {escape(', '.join(names))}</h1><ul>",
        *(f"<li><b>{escape(n)}</b> {escape(m.spec.description)}</li>" for n, m in results.models.items()),
        "</ul>",
    ]
    if results.clips:
        parts += _clips(results, names)
    for folder, scores in results.pictures.items():
        parts += [f"<h2>Pictures: {escape(folder)}</h2>", _FLOAT, _table(picture_table(scores))]
        parts += [_crops(crop, crop.where) for crop in results.picture_crops.get(folder, ())]
    return "\n".join([*parts, "</body></html>\n"])


_FLOAT = (
    '<p class="faint">PSNR-Y in dB / SSIM-Y. float: unrounded luma in and out, as published; planes: integer'
    " luma in and out, as in video.</p>"
)


def _clips(results: Results, names: list[str]) -> list[str]:
    parts = ["<h2>Clips</h2>", f'<p class="faint">{escape(describe_coding(results.coding))}.</p>']
    verdicts = judge(results.clips, names)
    items = [f"<li{' class=behind' if v.behind else ''}>{escape(str(v))}</li>" for v in verdicts]
    auto = judge_auto(results.clips, results.automatic)
    if auto is not None:
        items.append(f"<li>{escape(str(auto))}</li>")
    parts += ['<ul class="verdicts">', *items, "</ul>"]
    for name in names:
        title = f"{escape(name)}: dB of PSNR-Y over the better of bicubic and Lanczos"
        parts += [f"<h3>{title}</h3>", _table(gain_table(results.clips, name))]
    if auto is not None:
        parts += ["<h3>What auto takes</h3>", _table(auto_table(auto))]
    if len(results.clips) > 1:
        parts.append(_scores(mean_clip(results.clips), names, "h3", ""))
    for clip in results.clips:
        width, height = clip.size
        told = f"{width}x{height}, {clip.frames} frames at {clip.frame_rate:.4g} a second"
        parts.append(_scores(clip, names, "h2", told))
        for crf, crop in results.clip_crops.get(clip.name, {}).items():
            parts.append(_crops(crop, f"{crf_label(crf)}, {crop.where}"))
    return parts


def _scores(clip: ClipScores, names: list[str], level: str, told: str) -> str:
    heading = f"<{level}>{escape(clip.name)}</{level}>" + (f'<p class="faint">{told}</p>' if told else "")
    return "\n".join([heading, _plot(plot_clip(clip, names), clip.name), _table(clip_table(clip))])


def _plot(plot: Plot, name: str) -> str:
    return (
        f'<picture><source srcset="{_data(plot.dark)}" media="(prefers-color-scheme: dark)">'
        f'<img class="plot" src="{_data(plot.light)}" alt="PSNR-Y of {escape(name)}"></picture>'
    )


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table[0])
    lines = [f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>']
    for row in table[1:]:
        begins = ' class="begins"' if row[0] else ""
        lines.append(f"<tr{begins}>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>")
    return "\n".join([*lines, "</tbody></table></div>"])


def _cell(cell: str) -> str:
    """Return a cell, with what stands behind a sign in colour."""
    value, _, gain = cell.rpartition(" ")
    if gain[:1] not in ("+", "-"):
        return escape(cell)
    return f'{escape(value)} <span class="{"gain" if gain[0] == "+" else "loss"}">{escape(gain)}</span>'


def _crops(crop: Crop, title: str) -> str:
    lines = [f'<p class="faint">{escape(title)}</p><div class="crops">']
    for name, picture in crop.pictures.items():
        told = f"{name}, {crop.psnr_y[name]:.2f} dB here" if name in crop.psnr_y else name
        image = f'<img src="{_data(png(picture))}" alt="{escape(told)}">'
        lines.append(f"<figure>{image}<figcaption>{escape(told)}</figcaption></figure>")
    return "\n".join([*lines, "</div>"])


def _data(picture: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"
