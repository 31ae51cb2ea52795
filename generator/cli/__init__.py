"""The command line: files in, files out. What it does with them is in the rest of the package."""
