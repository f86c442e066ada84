"""Comparing runs: arms, statistics over seeds, and a report that says better, worse or inconclusive."""
