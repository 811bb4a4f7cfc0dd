"""TensorRT and TensorRT for RTX: finding them, typed networks, engines. Importing this imports neither."""
