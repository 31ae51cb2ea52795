"""The protocols: bytes to `Batch` and `Prediction` to bytes. Pure: no model, no I/O."""
