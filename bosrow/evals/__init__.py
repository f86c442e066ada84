"""Benchmarks of language: one scorer, one small file for each task, and what is made of the scores.

A model is known here only as a function from tokens to logits (`scoring.LanguageModel`); only `run`, the verb
`bosrow eval`, loads checkpoints.
"""
