"""A data set on disk: what its files are, how they are written, read back and verified."""
