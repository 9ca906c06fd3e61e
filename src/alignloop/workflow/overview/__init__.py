"""A project at a glance: its runs, the lineage of its models, their win rates, its labels, and runs side by side."""
