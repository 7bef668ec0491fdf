"""Modules that take modules and numbers."""
