"""Letting people use the models: a conversation in the terminal, and a server for OpenAI's clients."""
