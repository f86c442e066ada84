"""GPT-2 in plain torch."""
