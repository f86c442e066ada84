"""Reads a corpus from the Hugging Face Hub."""
