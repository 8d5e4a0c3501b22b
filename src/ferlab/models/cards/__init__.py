"""One dict of cards per family; the keys are explained in `ferlab.models.registry`. Plain values only, readable without torch."""
