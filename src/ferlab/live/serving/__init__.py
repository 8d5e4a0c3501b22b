"""Predictions for other programs: `ferlab serve`."""
