"""What every server of this package has in common: where it listens, how long it waits for clients, how it opens the
pictures of strangers, and what it logs.
"""
