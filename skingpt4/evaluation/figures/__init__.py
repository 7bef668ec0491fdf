"""Figures with n and intervals, from arrays of truths and scores."""
