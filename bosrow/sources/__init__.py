"""A corpus, wherever it lies: finding its files, and reading them as documents."""
