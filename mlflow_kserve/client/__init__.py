"""The client of the control plane's API, which the command, the SDK and the plugin share."""
