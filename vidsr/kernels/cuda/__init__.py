"""The fused CUDA kernel: a whole stack of folded convolutions for a tile of a plane, on tensor cores."""
