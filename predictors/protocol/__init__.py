"""Bytes ↔ Batch / Prediction for each protocol. Pure: no model, no I/O."""
