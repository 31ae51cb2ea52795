"""A black-box suite for the Open Inference Protocol: it holds any server, at any URL, to the same rules."""
