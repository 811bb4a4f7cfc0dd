"""Everything that touches media files: the only room that imports PyAV."""
