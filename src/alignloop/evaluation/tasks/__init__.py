"""Public tasks on local files: one small module per task or family, the table of them in `catalogue`. Torch-free."""
