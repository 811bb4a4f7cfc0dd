"""Engines of TensorRT, or of TensorRT for RTX: made in a process of their own, kept in the user's cache."""
