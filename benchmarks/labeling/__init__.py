"""Simulated people on the real labeling app: a server process, browsers' requests, and what the store holds then."""
