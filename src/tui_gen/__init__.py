"""A terminal playground for autoregressive neural networks."""

import os

# onnxruntime sends telemetry unless this is set before its first import.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"
