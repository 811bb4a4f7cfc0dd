"""The tables of the README, from the models' cards: nobody types a figure.

python benchmarks/readme_tables.py          # print them
python benchmarks/readme_tables.py --write  # put them between the README's marks
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vidsr.cli.listing import entry_of
from vidsr.models.lookup import find_model, list_models

ROOT = Path(__file__).parents[1]
VIDEO = "2x-ecbsr-m4c16-video"
CRFS = (18, 23, 28, 33)


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


TABLES = {"models": models_table, "video": video_table}
"""By the name in the README's marks, <!-- table: NAME --> and <!-- end -->."""


def written(readme: str) -> str:
    """Return the README with the tables as they should be."""
    for name, made in TABLES.items():
        start, end = f"<!-- table: {name} -->\n", "<!-- end -->"
        before, _, rest = readme.partition(start)
        readme = f"{before}{start}{made()}\n{end}{rest.partition(end)[2]}"
    return readme


def main() -> None:
    """Print the tables, or write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="into README.md")
    if parser.parse_args().write:
        readme = ROOT / "README.md"
        readme.write_text(written(readme.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print("\n\n".join(made() for made in TABLES.values()))


if __name__ == "__main__":
    main()
