"""The tables of models in the README and in docs/, from the models' cards: nobody types a figure.

python benchmarks/card_tables.py          # print them
python benchmarks/card_tables.py --write  # put them between the pages' marks
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vidsr.cli.listing import entry_of
from vidsr.models.lookup import find_model, list_models

ROOT = Path(__file__).parents[1]
VIDEO = "2x-ecbsr-m4c16-video"
CRFS = (18, 23, 28, 33)
_DIGITS = (("psnr", 3), ("ssim", 4))


def models_table() -> str:
    """Return a row for each model in engines/, the defaults marked."""
    lines = [
        "| model | for | parameters | kMAC a pixel | speed | PSNR-Y in dB, Set5 / Set14 | bicubic |",
        "|---|---|--:|--:|---|---|---|",
    ]
    models = list_models([ROOT / "engines"])
    for model in sorted(models, key=lambda m: (m.spec.scale, m.spec.kind, entry_of(m).cost.kmac)):
        spec, cost = model.spec, entry_of(model).cost
        kind = "clean sources" if spec.kind == "clean" else "compressed video"
        figures, bicubic = (
            " / ".join(f"{spec.quality[folder][key]:.2f}" for folder in ("set5", "set14"))
            for key in ("psnr_y_float", "psnr_y_bicubic")
        )
        name = f"**`{spec.id}`**" if spec.default else f"`{spec.id}`"
        cells = [name, kind, f"{cost.parameters:,}", f"{cost.kmac:.1f}", cost.speed, figures, bicubic]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def pictures_table() -> str:
    """Return each model's figures by the evaluation protocol."""
    heads = ["PSNR float", "SSIM float", "PSNR planes"]
    sets = {"set5": "Set5", "set14": "Set14"}
    names = [f"{title} {head}" for title in sets.values() for head in heads]
    lines = [f"| model | {' | '.join(names)} |", "|---" * (1 + len(names)) + "|"]
    models = list_models([ROOT / "engines"])
    for scale in sorted({m.spec.scale for m in models}):
        these = [m.spec for m in models if m.spec.scale == scale]
        plain = [f"{these[0].quality[s][f'{k}_y_bicubic']:.{d}f}" for s in sets for k, d in _DIGITS]
        cells = [*plain[:2], "", *plain[2:], ""]
        lines.append(f"| {scale}x bicubic | {' | '.join(cells)} |")
        for spec in these:
            cells = []
            for folder in sets:
                cells += [f"{spec.quality[folder][f'{k}_y_float']:.{d}f}" for k, d in _DIGITS]
                cells.append(f"{spec.quality[folder]['psnr_y_planes']:.3f}")
            lines.append(f"| `{spec.id}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def video_table() -> str:
    """Return what the model for compressed video gains on Lanczos, clip by clip."""
    quality = find_model(VIDEO, 2, [ROOT / "engines"]).spec.quality
    heads = [f"crf {crf}" for crf in CRFS]
    lines = [f"| clip | {' | '.join(heads)} |", "|---" * (1 + len(CRFS)) + "|"]
    keys = ("psnr_y_over_lanczos", "vmaf_over_lanczos")
    rows = []
    for clip in dict.fromkeys(key.split("/")[1] for key in quality if key.startswith("video/")):
        rows.append([[quality[f"video/{clip}/crf{crf}"][key] for key in keys] for crf in CRFS])
        lines.append(_gains(clip, rows[-1]))
    means = [[sum(row[i][k] for row in rows) / len(rows) for k in range(2)] for i in range(len(CRFS))]
    return "\n".join([*lines, _gains("**mean**", means)])


def _gains(name: str, points: list[list[float]]) -> str:
    return f"| {name} | {' | '.join(f'{psnr:+.2f} dB, {vmaf:+.1f}' for psnr, vmaf in points)} |"


TABLES = {
    "README.md": {"models": models_table, "video": video_table},
    "docs/performance.md": {"pictures": pictures_table},
}
"""By page, then by the name in its marks: <!-- table: NAME --> and <!-- end -->."""


def written(page: str) -> str:
    """Return a page of `TABLES` with the tables as they should be."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for name, made in TABLES[page].items():
        start, end = f"<!-- table: {name} -->\n", "<!-- end -->"
        before, _, rest = text.partition(start)
        text = f"{before}{start}{made()}\n{end}{rest.partition(end)[2]}"
    return text


def main() -> None:
    """Print the tables, or write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="into the pages")
    if parser.parse_args().write:
        for page in TABLES:
            (ROOT / page).write_text(written(page), encoding="utf-8")
    else:
        print("\n\n".join(made() for tables in TABLES.values() for made in tables.values()))


if __name__ == "__main__":
    main()
