"""Diagnosis: which known mistake explains a tensor that is off."""
