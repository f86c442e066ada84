"""Talks to the Hugging Face Hub: requests that are tried again, files by ranges, errors in bosrow's words."""
