"""Simulated people on the real labeling app: a server process, browsers' requests, and a look at what the store holds."""
