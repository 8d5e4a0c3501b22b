"""One file per command of `ferlab`: its arguments, and what it calls. Nothing heavy is imported before a command runs."""
