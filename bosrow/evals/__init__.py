"""Benchmarks of language: one scorer, one small file for each task, and results made of the scores.

A model is known here only as a function from tokens to logits (`scoring.LanguageModel`); only `command`, the verb
`bosrow eval`, loads checkpoints.
"""
