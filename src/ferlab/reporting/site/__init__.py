"""The report as a site that reads offline, and what is published from it."""
