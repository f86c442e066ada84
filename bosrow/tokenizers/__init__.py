"""Text into token ids, by GPT-2's vocabulary or the user's own."""
