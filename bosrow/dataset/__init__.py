"""A data set on disk: what its files are, and how they are written, read and verified."""
