"""Makes the fakes and the makers of media importable."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("media", "fakes")]
