"""The back end of this machine: a server process for each revision, and one gateway with the serves' addresses."""
