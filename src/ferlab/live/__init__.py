"""Faces in JupyterLab and the browser: widgets, consent and collection, sessions, verification; static/ holds what runs in the browser."""
