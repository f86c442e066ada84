"""The metrics that arms are compared by: one file a family."""
