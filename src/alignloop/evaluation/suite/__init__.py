"""`alignloop evaluate tasks`: policies asked the public tasks, answers kept, figures with intervals, a page."""
