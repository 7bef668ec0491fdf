"""How the check that asks for better photographs is fitted and measured."""
