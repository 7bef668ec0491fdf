"""A model of this package in the forms that other programs open, and its model card."""
