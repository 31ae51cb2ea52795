"""gRPC: the inference service, and the HTTP/2 server beneath it."""
