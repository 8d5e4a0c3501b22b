"""One dict of cards per family. Names and plain values only: no torch, so that anyone may read them."""
