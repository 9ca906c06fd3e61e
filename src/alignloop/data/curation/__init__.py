"""The paper's curation of prompts, as functions over a stream: consent, length, language, duplicates, caps, split, PII.

`curate.curate` is the whole of it; docs/prompt-curation.md explains each step. Torch-free.
"""
