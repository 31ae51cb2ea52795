"""A gRPC server on the event loop that serves HTTP: frames, streams and calls. It knows nothing of models."""
