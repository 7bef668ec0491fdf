"""The model for other programs: HTTP in the manner of OpenAI's interface."""
