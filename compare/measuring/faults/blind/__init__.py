"""Blind faults: three sets by authors who had not read the diagnosis, so that nothing in it was fitted to them."""
