"""A report as one HTML file that needs nothing else: charts in plain SVG, tables, and words for numbers."""
