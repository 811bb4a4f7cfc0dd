"""Everything that touches media files: the only room that imports PyAV."""

import os

# SVT-AV1 tells on stderr what it is doing, whatever FFmpeg's log level; 1: errors only.
os.environ.setdefault("SVT_LOG", "1")
