"""Parts of the serving benchmark: a server in a process of its own, and clients that read streams."""
