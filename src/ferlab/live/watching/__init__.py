"""A camera or a video over time."""
