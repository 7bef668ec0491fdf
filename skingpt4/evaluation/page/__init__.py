"""The report of an evaluation: a page, pictures and tables for papers."""
