"""Numbers: how far a correct computation can be from the exact one, whatever is computed."""
