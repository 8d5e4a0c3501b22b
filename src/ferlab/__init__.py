"""ferlab: a reproducible research workspace for facial expression recognition (FER)."""
