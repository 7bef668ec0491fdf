"""What visitors give: taken in memory, bound to their browser, forgotten."""
