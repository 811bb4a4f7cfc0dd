"""A model, a backend and a verb for vidsr, found by it through the entry points in pyproject.toml."""

from pathlib import Path

MODELS = Path(__file__).parent / "models"
"""A folder with ONNX files and their cards, as vidsr's own `engines`."""
