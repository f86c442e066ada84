"""The ranks of a run and the device of each."""
