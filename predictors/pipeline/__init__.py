"""The way of a request from decoding to the reply."""
