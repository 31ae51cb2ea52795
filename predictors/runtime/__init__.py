"""The interpreter and the machine: CPUs, garbage, imports."""
