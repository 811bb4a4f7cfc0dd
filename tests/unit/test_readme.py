"""What the README says of the models is what their cards say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_tables_are_those_of_the_cards() -> None:
    spec = importlib.util.spec_from_file_location("readme_tables", ROOT / "benchmarks/readme_tables.py")
    assert spec is not None
    assert spec.loader is not None
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in tables.TABLES:
        assert readme.count(f"<!-- table: {name} -->\n| ") == 1
    assert readme == tables.written(readme), "run: python benchmarks/readme_tables.py --write"
