"""What a model says about many pictures that nobody has labelled."""
