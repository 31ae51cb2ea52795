"""The SDK: projects, functions and runs, on this machine or through a control plane."""
