"""What the README and docs/ say of the models is what their cards say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["README.md", "docs/performance.md"])
def test_tables_are_those_of_the_cards(page: str) -> None:
    spec = importlib.util.spec_from_file_location("card_tables", ROOT / "benchmarks/card_tables.py")
    assert spec is not None
    assert spec.loader is not None
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    text = (ROOT / page).read_text(encoding="utf-8")
    for name in tables.TABLES[page]:
        assert text.count(f"<!-- table: {name} -->\n| ") == 1
    assert text == tables.written(page), "run: python benchmarks/card_tables.py --write"
