"""From a decoded request to its reply, the same for every protocol."""
