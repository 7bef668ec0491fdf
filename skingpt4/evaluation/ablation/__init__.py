"""What each fine-tuning step is worth."""
