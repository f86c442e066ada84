"""Finds the files of a corpus, on this machine or on the Hub, and reads them as documents."""
