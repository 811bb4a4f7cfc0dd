"""Models without torch: cards, lookup, checks of ONNX files, halo, and `deploy`.

Start with `lookup.find_model` and `deploy.deploy`. Importing this package imports neither ONNX nor a runtime.
"""

from vidsr.models.card import (
    ModelFile,
    ModelSpec,
    Training,
    TrainingSource,
    load_card,
    verify_file,
    write_card,
)
from vidsr.models.deploy import Deployed, FrameFormat, deploy
from vidsr.models.halo import Context, context_of
from vidsr.models.lookup import Model, find_model, list_models

__all__ = [
    "Context",
    "Deployed",
    "FrameFormat",
    "Model",
    "ModelFile",
    "ModelSpec",
    "Training",
    "TrainingSource",
    "context_of",
    "deploy",
    "find_model",
    "list_models",
    "load_card",
    "verify_file",
    "write_card",
]
