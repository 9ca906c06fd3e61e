"""Prompts from the files that people have into a project, a report on them, and out again for the trainers. Torch-free.

`intake` imports, `report` tells what is there, `export` leaves artefacts; docs/prompts.md is the user's page.
"""
