"""Scores of one answer against its references. Pure functions of texts and numbers; nothing here reaches torch."""
