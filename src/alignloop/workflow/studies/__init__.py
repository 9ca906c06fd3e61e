"""Longer experiments: many runs, and what they say of one setting or method."""
