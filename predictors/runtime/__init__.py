"""The interpreter and the machine: CPUs, garbage, imports, and lines of the log that come too often."""
