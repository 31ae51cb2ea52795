"""What the model was asked and what it answered, written down in the background for drift, audits and training."""
