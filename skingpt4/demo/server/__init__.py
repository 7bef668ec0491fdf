"""Serving the page: where it listens, who may use it, what it answers."""
