"""Faces collected with consent: the text, the folder, the panel, second labels."""
