"""What runs programs on NVIDIA GPUs: the interface to CUDA, whether there is a GPU, sessions on it."""
