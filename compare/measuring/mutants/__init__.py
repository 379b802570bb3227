"""Mutation testing of the check: small changes of the code that is checked, and whether the check sees them."""
