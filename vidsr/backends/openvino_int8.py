"""What OpenVINO must be told to compute int8 graphs right on this processor.

Without VNNI it multiplies bytes by an instruction (vpmaddubsw) that adds two products in 16 bits. Two of
255 times 127 are more than that holds, and what it cannot hold is cut off: half of the largest sums is lost,
without a word. OpenVINO's documentation calls it the saturation issue
(https://docs.openvino.ai/latest/pot_saturation_issue.html) and advises weights of 7 bits. Computed in floats,
the same graph gives what its integers stand for, as slowly as f32.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from vidsr.errors import BackendUnavailableError

__all__ = ["INTEGERS", "int8_settings"]

INTEGERS: Mapping[str, str] = {}
"""Where nothing has to be set: sums of products are integers of 32 bits."""

_FLOATS = {"LP_TRANSFORMS_MODE": "NO", "INFERENCE_PRECISION_HINT": "f32"}

_CHANNELS, _SIDE = 16, 8
_WHOLE = 255 * 127 * 9 * _CHANNELS  # below 2**24: exact in float32


def int8_settings(openvino: Any, core: Any) -> Mapping[str, str]:
    """Return the settings under which the CPU's int8 sums are whole: by trying, which takes some 0.1 s.

    Args:
        openvino: The module.
        core: Its `Core`.

    Raises:
        BackendUnavailableError: There are none.
    """
    for settings in (INTEGERS, _FLOATS):
        try:
            if _largest_sum(openvino, core, settings) == _WHOLE:
                return settings
        except RuntimeError:
            continue  # such as a release that does not know the setting
    raise BackendUnavailableError(
        "OpenVINO's int8 sums overflow on this processor, which has no VNNI",
        hint="use --precision f32, or --backend kernel",
    )


def _largest_sum(openvino: Any, core: Any, settings: Mapping[str, str]) -> float:
    """Return what the CPU makes of a convolution whose codes are 255 and whose weights are 127."""
    ops = importlib.import_module("openvino.opset13")
    x = ops.parameter([1, _CHANNELS, _SIDE, _SIDE], np.float32)
    codes = ops.fake_quantize(x, *np.array([0, 255, 0, 255], np.float32), 256)
    kernels = ops.constant(np.full((8, _CHANNELS, 3, 3), 127, np.float32))
    weights = ops.fake_quantize(kernels, *np.array([-127, 127, -127, 127], np.float32), 255)
    sums = ops.convolution(codes, weights, [1, 1], [1, 1], [1, 1], [1, 1])
    compiled = core.compile_model(
        openvino.Model([sums], [x], "sums"), "CPU", {"INFERENCE_PRECISION_HINT": "f32", **settings}
    )
    made = compiled(np.full((1, _CHANNELS, _SIDE, _SIDE), 255, np.float32))[0]
    return float(made[0, 0, _SIDE // 2, _SIDE // 2])
