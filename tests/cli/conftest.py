"""Makes the media tests' helper modules and the fakes importable here too."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("media", "fakes")]
