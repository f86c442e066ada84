"""The Hugging Face Hub as a place where a corpus lies."""
