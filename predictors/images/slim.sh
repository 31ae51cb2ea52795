#!/bin/sh
# Removes from an environment what only people who build or test packages need: slim.sh /opt/venv
set -eu
cd "$1"
find . \( -name '*.h' -o -name '*.a' \) -delete
find . -type d \( -name tests -o -name include \) -prune -exec rm -rf {} +
cd lib/python3*/site-packages
# An asynchronous client that nothing here uses, as large as the other one.
rm -rf kubernetes/aio
rm -rf onnx/backend/test
# PyTorch's tests and its compiler of protocol buffers.
rm -rf torch/test torch/bin/*[tT]est* torch/bin/protoc*
