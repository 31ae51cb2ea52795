"""What environments, serves and revisions are; no I/O."""
