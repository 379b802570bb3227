"""Trust: how far the verdicts of this checker can be trusted, measured on planted faults and on correct networks."""
