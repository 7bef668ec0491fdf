"""A clinical study of the model's answers: cases, blinded forms, ratings, figures."""
