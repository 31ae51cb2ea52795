"""The side-by-side benchmark: this server and its peers on the same core, with the same models and rows."""
